"""Everything that the sides of the race share: the network, the samples, the sizes, and the clock inside the network.

This module imports only PyTorch and segmentation-models-pytorch, so that the import time of a side is its own.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
IGNORE = 255
RATE = 1e-3
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WATCHED = 5
"""Number of first steps whose losses are compared between the sides."""


class Size(NamedTuple):
    """Size of a training."""

    encoder: str
    side: int
    batch: int
    steps: int
    """Optimizer steps of an epoch."""
    epochs: int
    classes: int = 6

    @property
    def title(self) -> str:
        """The size in words."""
        precision = "bf16" if DEVICE.type == "cuda" else "float32"
        return f"U-Net {self.encoder}, {self.batch} × {self.side}², {precision}, {self.epochs} epochs of {self.steps} steps, {DEVICE.type}"


class Moment(NamedTuple):
    """A time in seconds, on two clocks."""

    wall: float
    """On the clock of `time.perf_counter`."""
    cpu: float
    """CPU time of this process since its start; it does not count what else runs on the machine."""


def now() -> Moment:
    """Return the present moment."""
    return Moment(time.perf_counter(), time.process_time())


class Clock:
    """Notes the time of each training step and the loss of the first ones, from inside the network."""

    def __init__(self) -> None:
        self.masks: list[Tensor] = []
        """Masks (N,H,W) of the first batches. The losses are computed with these, so that other batches give other
        losses.
        """
        self.batch = self.steps = 0
        """Images of a training step, and steps of an epoch."""
        self.epochs: list[list[Moment]] = []
        """Moment at which each step begins, by epoch."""
        self.losses: list[float] = []
        self._evaluated = True

    def begin(self, x: Tensor, training: bool) -> None:
        """Note the beginning of a forward pass. An epoch begins with the first training step after an evaluation.

        Before the training, seglab tries the network on other images, which do not count.
        """
        if len(x) != self.batch:
            return
        if training and self._evaluated:
            self.epochs.append([])
        self._evaluated = not training
        if training:
            if DEVICE.type == "cuda" and len(self.epochs[-1]) in (0, self.steps - 1):
                torch.cuda.synchronize()
            self.epochs[-1].append(now())

    def end(self, logits: Tensor, training: bool) -> None:
        """Note the loss of one of the first steps."""
        if training and len(logits) == self.batch and len(self.losses) < len(self.masks):
            mask = self.masks[len(self.losses)].to(logits.device)
            self.losses.append(F.cross_entropy(logits.detach().float(), mask, ignore_index=IGNORE).item())


CLOCK = Clock()


class TimedUnet(smp.Unet):  # type: ignore[misc]  # SMP has no types
    """SMP's U-Net with the clock."""

    def forward(self, x: Tensor) -> Tensor:
        CLOCK.begin(x, self.training)
        logits: Tensor = super().forward(x)
        CLOCK.end(logits, self.training)
        return logits


class Normalised(nn.Module):
    """A network on uint8 images, which it normalises on the device."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network((image.float() / 255 - self.mean) / self.std)
        return logits


class Pairs(Dataset[Any]):
    """Images (3,H,W) uint8 and masks (H,W) int64 in memory, as pairs or as dictionaries.

    A dictionary has the two keys that a framework expects.
    """

    def __init__(self, images: Tensor, masks: Tensor, names: tuple[str, str] | None = None) -> None:
        self.images, self.masks, self.names = images, masks.long(), names

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        pair = self.images[index], self.masks[index]
        return pair if self.names is None else dict(zip(self.names, pair, strict=True))


class Folder:
    """A folder with the size, the samples and the initial weights of a training."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = Size(*json.loads((path / "size.json").read_text()))

    def network(self) -> nn.Module:
        """Return SMP's U-Net with the initial weights of all sides."""
        network = TimedUnet(self.size.encoder, encoder_weights=None, classes=self.size.classes)
        network.load_state_dict(torch.load(self.path / "weights.pt", weights_only=True))
        return network

    def datasets(self, names: tuple[str, str] | None = None) -> tuple[Pairs, Pairs]:
        """Return the training samples, in the order of seglab's first epoch, and the validation samples."""
        tensors = torch.load(self.path / "samples.pt", weights_only=True)
        train, val = (Pairs(tensors[f"{split} images"], tensors[f"{split} masks"], names) for split in ("train", "val"))
        return train, val

    def loaders(self, names: tuple[str, str] | None = None) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """Return loaders of the two data sets, in order and without workers."""
        pin = DEVICE.type == "cuda"
        train, val = (DataLoader(dataset, self.size.batch, pin_memory=pin) for dataset in self.datasets(names))
        return train, val

    def watch(self) -> None:
        """Prepare the clock."""
        CLOCK.masks = list(torch.load(self.path / "masks.pt", weights_only=True).long())
        CLOCK.batch, CLOCK.steps = self.size.batch, self.size.steps


def batches(loader: DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield image and mask of each batch on the device."""
    for image, mask in loader:
        yield image.to(DEVICE, non_blocking=True), mask.to(DEVICE, non_blocking=True)


def mean_iou(confusion: Tensor) -> float:
    """Return the mean IoU of a confusion matrix (C,C), rows truth, over the classes that occur."""
    union = confusion.sum(0) + confusion.sum(1) - confusion.diag()
    return float((confusion.diag() / union)[union > 0].mean())


def count(prediction: Tensor, mask: Tensor, classes: int) -> Tensor:
    """Return the confusion matrix (C,C) of predictions and masks of one shape; `IGNORE` is not counted."""
    valid = mask != IGNORE
    cells = mask[valid].long() * classes + prediction[valid].long()
    return torch.bincount(cells, minlength=classes**2).view(classes, classes)
