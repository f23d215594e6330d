"""Wrappers around a data set that resize its samples, keep them in memory, or augment them."""

from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from seglab.data.arrays import Array, as_array, as_tensor
from seglab.data.augmentation.augment import ignore_outside, transform
from seglab.data.threads import in_threads
from seglab.resizing import resize_image
from seglab.sample import Sample

if TYPE_CHECKING:
    import albumentations as A

_AUGMENT = 2  # separates these random numbers from those of the sampler


class Samples(Protocol):
    """Samples by index: the input of a step of the pipeline."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: int) -> Sample:
        """Return sample `index`."""


class Resized(Dataset[Sample]):
    """Samples with images resized to `size` (rows, columns). If `masks`, masks are resized too, by the nearest pixel."""

    def __init__(self, samples: Samples, size: tuple[int, int] | None, masks: bool) -> None:
        self.samples, self.size, self.masks = samples, size, masks

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        if self.size is None or self.size == tuple(sample.image.shape[-2:]):
            return sample
        image = resize_image(as_array(sample.image), self.size)
        mask = resize_mask(sample.mask.numpy(), self.size) if self.masks else sample.mask.numpy()
        return Sample(as_tensor(image), torch.from_numpy(mask), sample.name)


class Cached(Dataset[Sample]):
    """All samples in memory. They are read once, before the workers are forked. The workers share the memory, and no epoch reads a file."""

    def __init__(self, samples: Samples) -> None:
        self.samples = list(in_threads(samples.__getitem__, len(samples)))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


class Augmented(Dataset[Sample]):
    """Augmented training samples by key of `EpochSampler`. The random numbers of the augmentation are a function of (seed, key)."""

    def __init__(self, samples: Samples, compose: "A.Compose | None", seed: int) -> None:
        self.samples, self.seed = samples, seed
        self.compose = None if compose is None else ignore_outside(compose)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, ...]) -> Sample:
        sample = self.samples[key[1]]
        if self.compose is None:
            return sample
        seed = np.random.SeedSequence([_AUGMENT, self.seed, *key])
        image, mask = transform(as_array(sample.image), sample.mask.numpy(), self.compose, seed)
        return Sample(as_tensor(image), torch.from_numpy(np.ascontiguousarray(mask)), sample.name)


def resize_mask(mask: Array, size: tuple[int, int]) -> Array:
    """Resize a mask (H,W) to `size`: each pixel gets the label nearest to its centre (OpenCV's INTER_NEAREST is half a pixel off)."""
    return np.asarray(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
