"""`Shift`: the description of a shifted test set.

`Corruption`: a shift that degrades the images of the study's own test split.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from seglab.data.arrays import Array, as_array, as_tensor
from seglab.data.loading.pipeline import Samples
from seglab.data.sources.source import SegmentationSource
from seglab.data.threads import in_threads
from seglab.sample import Sample

SEVERITIES = (1, 2, 3, 4, 5)

_SHIFT = 5  # separates these random numbers from those of order, augmentation and crops

_FULL = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
"""Largest value of each integer type of images, which stands for 1, as in the normalisation."""


class Shift(ABC):
    """A shifted test set: images that differ from the training images in a known way, with the same classes.

    A subclass is a frozen dataclass. Its fields are its settings: they become flags, and `study.json` records them.

        @dataclass(frozen=True)
        class Grey(Shift):
            def apply(self, image: Array, rng: np.random.Generator) -> Array:
                return np.repeat(image.mean(-1, keepdims=True), image.shape[-1], -1).astype(image.dtype)
    """

    def domain(self) -> SegmentationSource | None:
        """Return the source whose test split is evaluated; None for the study's own."""
        return None

    @abstractmethod
    def apply(self, image: Array, rng: np.random.Generator) -> Array:
        """Return the shifted image, of the same shape and dtype. The mask stays as it is, so no pixel may move.

        Args:
            image: (H,W,C) uint8, uint16 or float32 in [0, 1], at the size that the network sees.
            rng: random numbers that are a function of the index of the image alone.
        """

    def check_images(self, samples: Samples) -> None:
        """Raise a ValueError if the shift is not defined for some of the samples. The default accepts all."""
        return


@dataclass(frozen=True)
class Corruption(Shift):
    """A degradation of the test images, of one of five severities. A subclass defines `degrade`.

    Raises:
        ValueError: the severity is not one of 1 to 5.
    """

    severity: int = 3
    """strength, from 1 to 5."""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity is {self.severity}: expected a whole number from 1 to 5")

    @abstractmethod
    def degrade(self, image: Array, rng: np.random.Generator) -> Array:
        """Return the degraded image (H,W,C) float32. Values outside of 0 to 1 are clipped afterwards.

        Args:
            image: (H,W,C) float32 in [0, 1]: the values of the image over the largest value of its dtype.
            rng: random numbers that are a function of the index of the image alone.
        """

    def apply(self, image: Array, rng: np.random.Generator) -> Array:
        """Return the image, degraded on the scale from 0 to 1, clipped, and rounded to its own dtype."""
        full = _FULL.get(image.dtype, 1.0)
        degraded = np.clip(self.degrade(image.astype(np.float32) / np.float32(full), rng), 0, 1) * np.float32(full)
        return (np.rint(degraded) if image.dtype in _FULL else degraded).astype(image.dtype)

    def check_images(self, samples: Samples) -> None:
        """Raise a ValueError if a float image has values outside of 0 to 1, for which a severity has no meaning."""
        if len(samples) and samples[0].image.is_floating_point():
            for _ in in_threads(lambda index: _check_range(samples[index]), len(samples)):
                pass


class Shifted(Dataset[Sample]):
    """Samples with shifted images.

    An image is a function of its index and the shift alone: not of a seed, a batch, a worker or a rank.
    """

    def __init__(self, samples: Samples, shift: Shift) -> None:
        self.samples, self.shift = samples, shift

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        image, mask, name = self.samples[index]
        before = as_array(image)
        after: object = self.shift.apply(before.copy(), np.random.default_rng([_SHIFT, index]))  # the image may be cached
        if not isinstance(after, np.ndarray) or after.shape != before.shape or after.dtype != before.dtype:
            raise ValueError(
                f"{type(self.shift).__name__}.apply returned {_kind(after)} for {name}; expected an array of the image's own kind, "
                f"{_kind(before)}: correct it"
            )
        return Sample(as_tensor(after), mask, name)


def _kind(value: object) -> str:
    return f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def _check_range(sample: Sample) -> None:
    low, high = torch.aminmax(sample.image)
    if low < 0 or high > 1:
        raise ValueError(
            f"{sample.name}: the image has values from {float(low):g} to {float(high):g}, and the severity of a corruption is defined for "
            "values from 0 to 1: scale the images, or leave the corruption out"
        )
