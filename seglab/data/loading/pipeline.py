"""Wrappers around a data set that resize its samples, keep them in memory, or augment them."""

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from seglab.data.arrays import Array, as_array, as_tensor
from seglab.data.augmentation.contract import fault_of
from seglab.data.augmentation.pipeline import Pipeline
from seglab.data.augmentation.rehearsal import rehearse
from seglab.data.threads import in_threads
from seglab.resizing import resize_image
from seglab.sample import Sample

_AUGMENT = 2  # separates these random numbers from those of the sampler
_CHECKED_ROWS = 4
"""Step between the rows of an augmented mask whose labels are checked. A check of all rows takes 3 % of the time of a
sample.
"""


class Samples(Protocol):
    """Samples by index: the input of a step of the pipeline."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: int) -> Sample:
        """Return sample `index`."""


class Resized(Dataset[Sample]):
    """Samples with images resized to `size` (rows, columns).

    If `masks`, masks are resized too, by the nearest pixel.
    """

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

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Return the samples of a batch, for which the loader asks at once.

        A loader without workers reads them in as many threads as torch may use, which is the share of this run.
        """
        threads = torch.get_num_threads() if get_worker_info() is None else 1
        if threads == 1:
            return [self[index] for index in indices]
        return list(in_threads(lambda place: self[indices[place]], len(indices), threads))


class Cached(Dataset[Sample]):
    """All samples in memory.

    They are read once, before the workers are forked. The workers share the memory, and no epoch reads a file.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples = list(in_threads(samples.__getitem__, len(samples)))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


class Augmented(Dataset[Sample]):
    """Augmented training samples by key of `EpochSampler`.

    The random numbers of the augmentation are a function of (seed, key).

    Raises:
        ValueError: an augmented sample breaks the contract of `seglab.data.augmentation.contract`; the message names
            sample and step.
    """

    def __init__(self, samples: Samples, pipeline: Pipeline | None, seed: int) -> None:
        self.samples, self.pipeline, self.seed = samples, pipeline, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, ...]) -> Sample:
        return self._augmented(self.samples[key[1]], key)

    def __getitems__(self, keys: Sequence[tuple[int, ...]]) -> list[Sample]:
        """Return the samples of a batch.

        All are read, then all are augmented: a step's code then stays in the processor's cache.
        """
        indices = [key[1] for key in keys]
        read = getattr(self.samples, "__getitems__", None)
        samples = [self.samples[index] for index in indices] if read is None else read(indices)
        return [self._augmented(sample, key) for sample, key in zip(samples, keys, strict=True)]

    def _augmented(self, sample: Sample, key: tuple[int, ...]) -> Sample:
        if self.pipeline is None:
            return sample
        before = as_array(sample.image), sample.mask.numpy()
        seed = np.random.SeedSequence([_AUGMENT, self.seed, *key])
        image, mask = self.pipeline.augment(before[0].copy(), before[1].copy(), seed)  # a step may change its input, which may be cached
        if (fault := fault_of(before, image, mask, every=_CHECKED_ROWS)) is not None:
            rehearse(self.pipeline, *before, sample.name)
            raise ValueError(f"augmentation {type(self.pipeline).__name__} {fault} (seen on {sample.name}, in epoch {key[0]})")
        return Sample(as_tensor(image), torch.from_numpy(np.ascontiguousarray(mask)), sample.name)


def resize_mask(mask: Array, size: tuple[int, int]) -> Array:
    """Resize a mask (H,W) to `size`: each pixel gets the label nearest to its centre.

    OpenCV's INTER_NEAREST is half a pixel off.
    """
    return np.asarray(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
