"""Draw a few test images with their truth and prediction."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from seglab.callbacks.sheet import DPI, Classes, Picture, draw
from seglab.data.arrays import visible
from seglab.files import atomic_write
from seglab.sample import IGNORE, Batch


class PredictionPictures(Callback):
    """Writes `predictions.png` after a test, and logs the images to W&B with masks that the viewer can switch on and off.

    Args:
        directory: folder of the picture.
        palette: (C,3) uint8, the colour of each class.
        count: number of images, spread evenly over the test set, whatever the batch size and the number of ranks.
    """

    def __init__(self, directory: Path, palette: NDArray[np.uint8], count: int = 4) -> None:
        self.directory = directory
        self.palette = palette
        self.count = count
        self._pictures: dict[int, Picture] = {}
        self._seen = 0

    @override
    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._pictures, self._seen = {}, 0

    @override
    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if not isinstance(batch, Batch):
            return
        wanted = chosen(self.count, _images(trainer, dataloader_idx))
        for place in range(len(batch.name)):
            index = trainer.global_rank + trainer.world_size * self._seen  # the place in the test set
            if index in wanted:
                self._pictures[index] = _picture(batch, outputs, place)
            self._seen += 1

    @override
    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        parts: list[Any] = [self._pictures]
        if trainer.world_size > 1:
            parts = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, self._pictures)
        found = {index: picture for part in parts for index, picture in part.items()}
        pictures = [found[index] for index in sorted(found)]
        if not pictures or not trainer.is_global_zero:
            return
        names = getattr(pl_module, "class_names", lambda: ())()
        classes = Classes(names, self.palette, getattr(pl_module, "ignore_index", IGNORE))
        with atomic_write(self.directory / "predictions.png", durable=False) as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # a letter of a file's name that no installed font has
            draw(pictures, classes).savefig(file, format="png", dpi=DPI)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _send(logger, pictures, names)


def chosen(count: int, images: int) -> list[int]:
    """Return the places of `count` images, or of all if there are fewer, spread evenly over the places 0 … `images` - 1."""
    count = min(count, images)
    return [int((position + 0.5) * images / count) for position in range(count)]


def _images(trainer: L.Trainer, dataloader_idx: int) -> int:
    """Return the number of images that the test evaluates on all ranks."""
    loaders: Any = trainer.test_dataloaders
    loader = loaders[dataloader_idx] if isinstance(loaders, Sequence) else loaders
    limit = int(trainer.num_test_batches[dataloader_idx]) * int(loader.batch_size or 1) * trainer.world_size
    return min(len(loader.dataset), limit)


def _send(logger: WandbLogger, pictures: Sequence[Picture], names: Sequence[str]) -> None:
    import wandb

    labels = dict(enumerate(names)) | {IGNORE: "ignored"}
    images = []
    for picture in pictures:
        rows, columns = picture.truth.shape
        pixels = torch.from_numpy(picture.image).permute(2, 0, 1)[None].float()
        resized = torch.nn.functional.interpolate(pixels, (rows, columns), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
        masks = {
            "truth": {"mask_data": picture.truth.astype(np.uint8), "class_labels": labels},
            "prediction": {"mask_data": picture.prediction.astype(np.uint8), "class_labels": labels},
        }
        images.append(wandb.Image(resized.byte().numpy(), masks=masks, caption=picture.name))
    logger.experiment.log({"test/predictions": images})


def _picture(batch: Batch, prediction: Tensor, place: int) -> Picture:
    rows, columns = batch.mask_size[place].tolist()
    height, width = batch.image_size[place].tolist()
    return Picture(
        name=batch.name[place],
        image=visible(batch.image[place, :, :height, :width]),
        truth=batch.mask[place, :rows, :columns].cpu().numpy().astype(np.int64),
        prediction=prediction[place, :rows, :columns].cpu().numpy().astype(np.int64),
    )
