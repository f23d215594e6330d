"""Draw a few test images with their truth and prediction."""

import warnings
from collections.abc import Collection, Sequence
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

from seglab.callbacks.sheet import Classes, PredictedImage, write
from seglab.callbacks.trainee import PictureLog
from seglab.data.arrays import visible
from seglab.files import atomic_write
from seglab.sample import IGNORE, Batch


class PredictionPictures(Callback):
    """Writes `predictions.png` after a test, and gives pictures to each logger that takes them (`PictureLog`).

    Args:
        directory: folder of the picture.
        palette: (C,3) uint8, the colour of each class.
        count: number of images of `predictions.png`, spread evenly over the test set, whatever the batch size and the
            number of ranks.
        logged: number of test images that are logged, spread in the same way: the same images in every arm and under
            every seed.
        validation: number of images that are logged at each validation of a training; on several ranks, images of the
            first rank.
    """

    def __init__(self, directory: Path, palette: NDArray[np.uint8], count: int = 8, logged: int = 8, validation: int = 0) -> None:
        self.directory = directory
        self.palette = palette
        self.count = count
        self.logged = logged
        self.validation = validation
        self._pictures: dict[int, PredictedImage] = {}
        self._seen = 0

    @override
    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._pictures, self._seen = {}, 0

    @override
    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        images = _images(trainer, trainer.test_dataloaders, dataloader_idx)
        self._keep(batch, outputs, {*chosen(self.count, images), *chosen(self.logged, images)}, (trainer.global_rank, trainer.world_size))

    @override
    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        parts: list[Any] = [self._pictures]
        if trainer.world_size > 1:
            parts = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, self._pictures)
        found = {index: picture for part in parts for index, picture in part.items()}
        if not found or not trainer.is_global_zero:
            return
        images = _images(trainer, trainer.test_dataloaders, 0)
        drawn, logged = ([found[place] for place in chosen(count, images) if place in found] for count in (self.count, self.logged))
        classes = self._classes(pl_module)
        with atomic_write(self.directory / "predictions.png", durable=False) as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # a letter of a file's name that no installed font has
            write(drawn, classes, file)
        self._log(trainer, "test", logged, classes)

    @override
    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._pictures, self._seen = {}, 0

    @override
    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self.validation and trainer.state.fn == "fit" and any(isinstance(logger, PictureLog) for logger in trainer.loggers):
            images = _images(trainer, trainer.val_dataloaders, dataloader_idx) // trainer.world_size
            self._keep(batch, outputs, set(chosen(self.validation, images)), (0, 1))

    @override
    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the pictures to the loggers before Lightning logs the validation scores, so that one row holds both."""
        if self._pictures and trainer.state.fn == "fit":
            self._log(trainer, "val", [self._pictures[place] for place in sorted(self._pictures)], self._classes(pl_module))

    def _keep(self, batch: Any, prediction: Any, wanted: Collection[int], share: tuple[int, int]) -> None:
        """Keep the images of a batch that are wanted.

        Image i of this rank is image `rank + ranks · i` of the set; `share` has both.
        """
        if not isinstance(batch, Batch):
            return
        rank, ranks = share
        for place in range(len(batch.name)):
            index = rank + ranks * self._seen
            if index in wanted:
                self._pictures[index] = _picture(batch, prediction, place)
            self._seen += 1

    def _classes(self, module: L.LightningModule) -> Classes:
        names = getattr(module, "class_names", lambda: ())()
        return Classes(names, self.palette, getattr(module, "ignore_index", IGNORE))

    def _log(self, trainer: L.Trainer, place: str, pictures: Sequence[PredictedImage], classes: Classes) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, PictureLog):
                logger.log_pictures(place, pictures, classes)
            elif isinstance(logger, WandbLogger):
                from seglab.tracking.tables import images  # imports wandb

                logger.experiment.log({f"{place}/predictions": images(pictures, classes)})


def chosen(count: int, images: int) -> list[int]:
    """Return the indices of `count` images, or of all if there are fewer, spread evenly over 0 … `images` - 1."""
    count = min(count, images)
    return [int((position + 0.5) * images / count) for position in range(count)]


def _images(trainer: L.Trainer, loaders: Any, dataloader_idx: int) -> int:
    """Return the number of images that an evaluation has on all ranks."""
    testing = trainer.state.fn == "test"
    loader = loaders[dataloader_idx] if isinstance(loaders, Sequence) else loaders
    batches = (trainer.num_test_batches if testing else trainer.num_val_batches)[dataloader_idx]
    limit = int(batches) * int(loader.batch_size or 1) * trainer.world_size
    return min(len(loader.dataset), limit)


def _picture(batch: Batch, prediction: Tensor, place: int) -> PredictedImage:
    rows, columns = batch.mask_size[place].tolist()
    height, width = batch.image_size[place].tolist()
    return PredictedImage(
        name=batch.name[place],
        image=visible(batch.image[place, :, :height, :width]),
        truth=batch.mask[place, :rows, :columns].cpu().numpy().astype(np.int64),
        prediction=prediction[place, :rows, :columns].cpu().numpy().astype(np.int64),
    )
