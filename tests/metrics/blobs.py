"""Images for metrics: labels in blobs, so that some pixels are far from every contour."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from seglab.sample import IGNORE

C = 3


class Image(NamedTuple):
    """Return blobs of one size, without padding."""

    logits: Tensor
    """(C,H,W) float32."""
    prediction: Tensor
    """(H,W) int64."""
    mask: Tensor
    """(H,W) uint8."""


def blobs(generator: torch.Generator, height: int, width: int, classes: int = C) -> Tensor:
    """(H,W) int64: a class for each tile of 5×5, and one tile of the whole in a third of all images."""
    tile = 5 if torch.rand((), generator=generator) < 0.7 else max(height, width)
    coarse = torch.randint(0, classes, (-(-height // tile), -(-width // tile)), generator=generator)
    return coarse.repeat_interleave(tile, 0).repeat_interleave(tile, 1)[:height, :width]


def image(generator: torch.Generator, height: int, width: int) -> Image:
    """A truth with ignored pixels, and logits that are right in most pixels."""
    truth = blobs(generator, height, width)
    guess = truth.roll(1, 1) if torch.rand((), generator=generator) < 0.5 else blobs(generator, height, width)
    logits = torch.randn(C, height, width, generator=generator) + 2 * F.one_hot(guess, C).permute(2, 0, 1)
    ignored = (blobs(generator, height, width) == 0) & (torch.rand(height, width, generator=generator) < 0.5)
    return Image(logits, logits.argmax(0), truth.masked_fill(ignored, IGNORE).to(torch.uint8))


def padded(images: Sequence[Image], generator: torch.Generator, extra: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits, predictions, masks and sizes of a batch, with whatever a network says where the padding is."""
    height = max(len(one.mask) for one in images) + extra
    width = max(one.mask.shape[1] for one in images) + extra
    logits = torch.randn(len(images), C, height, width, generator=generator)
    prediction = torch.randint(0, C, (len(images), height, width), generator=generator)
    mask = torch.full((len(images), height, width), IGNORE, dtype=torch.uint8)
    for index, one in enumerate(images):
        rows, columns = one.mask.shape
        logits[index, :, :rows, :columns], prediction[index, :rows, :columns] = one.logits, one.prediction
        mask[index, :rows, :columns] = one.mask
    return logits, prediction, mask, torch.tensor([one.mask.shape for one in images])
