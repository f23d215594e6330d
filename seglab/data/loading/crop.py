"""Crop training samples anywhere, or around a pixel of a class drawn first, to show rare classes more often."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from seglab.data.loading.pipeline import Augmented
from seglab.sample import IGNORE, Sample

_CROP = 3  # separates these random numbers from those of the order and of the augmentation


class Cropped(Dataset[Sample]):
    """Training samples by key, of at most `size` rows and columns.

    The place of a crop is a function of (seed, key) alone.

    A side that is shorter than the crop is kept: `collate` pads it.

    Args:
        samples: the augmented samples.
        size: rows and columns of a crop.
        balanced: fraction of the crops that contain a pixel drawn by `draw_pixel`; the other crops lie anywhere.
        seed: seed of the run.
    """

    def __init__(self, samples: Augmented, size: tuple[int, int], balanced: float, seed: int) -> None:
        self.samples, self.size, self.balanced, self.seed = samples, size, balanced, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, ...]) -> Sample:
        image, mask, name = self.samples[key]
        rng = np.random.default_rng([_CROP, self.seed, *key])
        pixel = draw_pixel(mask, rng) if rng.random() < self.balanced else None
        rows, columns = (draw_span(mask.shape[axis], self.size[axis], None if pixel is None else pixel[axis], rng) for axis in (0, 1))
        return Sample(image[:, rows, columns], mask[rows, columns], name)


def draw_pixel(mask: Tensor, rng: np.random.Generator) -> tuple[int, int] | None:
    """Draw one of the classes in a mask (H,W) uint8, then one of its pixels.

    Return row and column, or None if all pixels are ignored.
    """
    labels = mask.flatten()
    classes = torch.bincount(labels, minlength=IGNORE + 1)[:IGNORE].nonzero()
    if len(classes) == 0:
        return None
    places = np.flatnonzero(labels.numpy() == classes[rng.integers(len(classes))].item())
    row, column = divmod(int(places[rng.integers(len(places))]), mask.shape[1])
    return row, column


def draw_span(length: int, size: int, inside: int | None, rng: np.random.Generator) -> slice:
    """Draw a span of `size` consecutive indices in 0…length-1; all indices if `size` is larger.

    All spans that contain `inside` are equally likely; None allows every span.
    """
    first, last = 0, max(0, length - size)
    if inside is not None:
        first, last = max(first, inside - size + 1), min(last, inside)
    start = int(rng.integers(first, last, endpoint=True))
    return slice(start, start + size)
