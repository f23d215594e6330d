"""Draw a few test images with their truth and prediction."""

from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from seglab.files import atomic_write
from seglab.sample import IGNORE, Batch


class Picture(NamedTuple):
    """An image and its masks, each at its own size."""

    name: str
    image: NDArray[np.uint8]
    """(H,W,3)"""
    truth: NDArray[np.int64]
    """(H',W')"""
    prediction: NDArray[np.int64]
    """(H',W')"""


class PredictionPictures(Callback):
    """Writes `predictions.png` after a test, and logs the images to W&B with masks that the viewer can switch on and off.

    Args:
        directory: folder of the picture.
        palette: (C,3) uint8, the colour of each class.
        count: number of images, spread evenly over the test.
    """

    def __init__(self, directory: Path, palette: NDArray[np.uint8], count: int = 4) -> None:
        self.directory = directory
        self.palette = palette
        self.count = count
        self._pictures: list[Picture] = []

    @override
    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._pictures = []

    @override
    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        batches = int(trainer.num_test_batches[dataloader_idx])
        wanted = {int((position + 0.5) * batches / self.count) for position in range(min(self.count, batches))}
        if trainer.is_global_zero and isinstance(batch, Batch) and batch_idx in wanted:
            self._pictures.append(_picture(batch, outputs))

    @override
    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self._pictures:
            return
        self._write()
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                self._send(logger, pl_module)

    def _write(self) -> None:
        from matplotlib.figure import Figure

        height, width = self._pictures[0].truth.shape
        title = 0.3  # height of the title, in inches
        tall = 7.5 / 3 * height / width * len(self._pictures) + title
        figure = Figure(figsize=(7.5, tall))
        edges = {"left": 0, "right": 1, "bottom": 0, "top": 1 - title / tall, "wspace": 0.02, "hspace": 0.02}
        axes = figure.subplots(len(self._pictures), 3, squeeze=False, gridspec_kw=edges)
        for row, picture in zip(axes, self._pictures, strict=True):
            shown = (
                picture.image,
                self._colours(picture.truth),
                self._colours(np.where(picture.truth == IGNORE, IGNORE, picture.prediction)),
            )
            for axis, pixels in zip(row, shown, strict=True):
                axis.imshow(pixels, aspect="auto", interpolation="nearest")
                axis.set_axis_off()
        for axis, heading in zip(axes[0], ("image", "truth", "prediction"), strict=True):
            axis.set_title(heading, fontsize=9)
        with atomic_write(self.directory / "predictions.png", durable=False) as file:
            figure.savefig(file, format="png")

    def _colours(self, mask: NDArray[np.int64]) -> NDArray[np.uint8]:
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.palette)] = self.palette
        return table[mask]

    def _send(self, logger: WandbLogger, pl_module: L.LightningModule) -> None:
        import wandb

        names = getattr(pl_module, "class_names", lambda: ())()
        labels = dict(enumerate(names)) | {IGNORE: "ignored"}
        images = []
        for picture in self._pictures:
            rows, columns = picture.truth.shape
            pixels = torch.from_numpy(picture.image).permute(2, 0, 1)[None].float()
            resized = torch.nn.functional.interpolate(pixels, (rows, columns), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
            masks = {
                "truth": {"mask_data": picture.truth.astype(np.uint8), "class_labels": labels},
                "prediction": {"mask_data": picture.prediction.astype(np.uint8), "class_labels": labels},
            }
            images.append(wandb.Image(resized.byte().numpy(), masks=masks, caption=picture.name))
        logger.experiment.log({"test/predictions": images})


def _picture(batch: Batch, prediction: Tensor) -> Picture:
    rows, columns = batch.mask_size[0].tolist()
    height, width = batch.image_size[0].tolist()
    return Picture(
        name=batch.name[0],
        image=_visible(batch.image[0, :, :height, :width]),
        truth=batch.mask[0, :rows, :columns].cpu().numpy().astype(np.int64),
        prediction=prediction[0, :rows, :columns].cpu().numpy().astype(np.int64),
    )


def _visible(image: Tensor) -> NDArray[np.uint8]:
    """Convert an image (C,H,W) of any dtype to (H,W,3) uint8: its first three channels, or its first as grey, scaled to the full range."""
    shown = image[:3] if image.shape[0] >= 3 else image[:1].expand(3, -1, -1)
    if shown.dtype != torch.uint8:
        values = shown.float()
        low, high = values.min(), values.max()
        shown = ((values - low) / (high - low).clamp_min(1e-9) * 255).byte()
    return shown.permute(1, 2, 0).cpu().numpy()
