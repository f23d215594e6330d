"""Subsets of a data set, which are data sets too."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from seglab.data.sources.dataset import OnDisk, OnDiskInParts, SegmentationDataset
from seglab.sample import Sample


class _Files(SegmentationDataset, OnDisk, Protocol):
    """A data set of files."""


class Subset:
    """Subset of a data set: the samples `indices`, in this order, with the same classes."""

    def __init__(self, whole: SegmentationDataset, indices: Sequence[int]) -> None:
        self.whole, self.indices = whole, indices

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the C classes, in the order of the labels."""
        return self.whole.class_names

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return self.whole.num_classes

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.whole[self.indices[index]]


class PartOnDisk(Subset):
    """Subset of a data set of files."""

    def __init__(self, whole: _Files, indices: Sequence[int]) -> None:
        super().__init__(whole, indices)
        self.files = whole

    def fingerprint(self) -> str:
        """Return a hash of the subset's files.

        If the whole data set lacks `fingerprint_of`, hash all its files and the indices.
        """
        if isinstance(self.files, OnDiskInParts):
            return self.files.fingerprint_of(self.indices)
        return hashlib.sha256(f"{self.files.fingerprint()} {list(self.indices)}".encode()).hexdigest()[:16]

    def mask_file(self, index: int) -> Path:
        """Return the file of the mask of sample `index` of the subset."""
        return self.files.mask_file(self.indices[index])


def part_of(whole: SegmentationDataset, indices: Sequence[int]) -> Subset:
    """Return the subset `indices` of `whole`: a `PartOnDisk` if `whole` is a data set of files, else a `Subset`."""
    return PartOnDisk(whole, indices) if isinstance(whole, OnDisk) else Subset(whole, indices)
