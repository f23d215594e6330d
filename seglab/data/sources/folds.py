"""Folds of the training and validation samples of any source, for a tuning by cross-validation.

The test samples stay as they are.
"""

import copy
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seglab.data.loading.part import part_of
from seglab.data.sources.dataset import OnDisk, SegmentationDataset, Split
from seglab.data.sources.files import PairedFiles
from seglab.data.sources.source import SegmentationSource
from seglab.data.sources.splits import divide, fold_sizes
from seglab.sample import Sample


@dataclass(frozen=True)
class Redivided(SegmentationSource):
    """The samples of another source in other splits. Classes, colours and sizes are those of the source."""

    source: SegmentationSource

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]  # that of the source
        """Names of the C classes, in the order of the labels."""
        return self.source.class_names

    @property
    def suggested_size(self) -> tuple[int, int] | None:  # type: ignore[override]
        """Rows and columns that the source suggests."""
        return self.source.suggested_size

    @property
    def worth_caching(self) -> bool:  # type: ignore[override]
        """Return whether the images are kept in memory by default."""
        return self.source.worth_caching

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """(C,3) colours in which the classes are drawn."""
        return self.source.palette


@dataclass(frozen=True)
class Folds(Redivided):
    """Samples of another source, whose train and val samples together are divided at random into folds of equal size.

    Fold `fold` is val, and the other folds are train. The division depends on the numbers of samples and folds alone.
    Groups, such as the frames of one drive, are not cut. A run of seed s takes fold s mod `folds`.

    Raises:
        ValueError: a field is out of its range, there are too few samples or groups, or the source says that its
            training and validation samples are not alike.
    """

    folds: int = 5
    fold: int = 0

    def __post_init__(self) -> None:
        if self.folds < 2 or not 0 <= self.fold < self.folds:
            raise ValueError(f"fold is {self.fold} of folds {self.folds}: expected at least 2 folds, and a fold from 0 to folds - 1")
        if not self.source.train_and_val_are_alike:
            raise ValueError(
                f"tuning_folds: {type(self.source).__name__} has other masks or images for training than for validation, so that they cannot "
                "be exchanged; tune on its own split (tuning_folds=None)"
            )

    def split(self, name: Split) -> SegmentationDataset:
        """Return the samples of one split: train or val samples of the fold, or the source's test samples."""
        return self.source.split("test") if name == "test" else part_of(self._pool, self._indices(name))

    def groups(self, name: Split) -> Sequence[str] | None:
        """Return the group of each sample of a split; None if the source has no groups."""
        if name == "test":
            return self.source.groups("test")
        return None if self._groups is None else [self._groups[index] for index in self._indices(name)]

    def for_seed(self, seed: int) -> "Folds":
        """Return the fold of a run: seed mod `folds`."""
        return dataclasses.replace(self, fold=seed % self.folds)

    def _indices(self, name: Split) -> list[int]:
        return [index for index, part in enumerate(self._parts) if (part == self.fold) == (name == "val")]

    @cached_property
    def _pool(self) -> SegmentationDataset:
        return joined(self.source.split("train"), self.source.split("val"))

    @cached_property
    def _groups(self) -> list[str] | None:
        train, val = self.source.groups("train"), self.source.groups("val")
        return None if train is None or val is None else [*train, *val]

    @cached_property
    def _parts(self) -> list[int]:
        """The fold of each sample of the pool."""
        count = len(self._pool)
        if count < self.folds:
            raise ValueError(f"tuning_folds: {count} samples for {self.folds} folds; expected at least one a fold: ask for fewer folds")
        return divide([str(index) for index in range(count)], fold_sizes(count, self.folds), 0, self._groups)


class Joined:
    """Two data sets of the same classes, one after the other."""

    def __init__(self, first: SegmentationDataset, second: SegmentationDataset) -> None:
        self.first, self.second = first, second

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the C classes, in the order of the labels."""
        return self.first.class_names

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return self.first.num_classes

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, index: int) -> Sample:
        dataset, place = self.place(index)
        return dataset[place]

    def place(self, index: int) -> tuple[SegmentationDataset, int]:
        """Return the data set that holds sample `index`, and its index there."""
        return (self.first, index) if index < len(self.first) else (self.second, index - len(self.first))


class JoinedOnDisk(Joined):
    """Two data sets of files, one after the other."""

    def fingerprint(self) -> str:
        """Return a hash of the files of both."""
        return hashlib.sha256(
            " ".join(one.fingerprint() for one in (self.first, self.second) if isinstance(one, OnDisk)).encode()
        ).hexdigest()[:16]

    def mask_file(self, index: int) -> Path:
        """Return the file of the mask of sample `index`."""
        dataset, place = self.place(index)
        if not isinstance(dataset, OnDisk):
            raise TypeError(f"{type(dataset).__name__} has no files")
        return dataset.mask_file(place)


def joined(first: SegmentationDataset, second: SegmentationDataset) -> SegmentationDataset:
    """Return two data sets as one.

    Two that read pairs of files in the same way become one that does, which can be cached in a file.
    """
    if isinstance(first, PairedFiles) and isinstance(second, PairedFiles) and _read_alike(first, second):
        whole = copy.copy(first)
        whole.pairs = [*first.pairs, *second.pairs]
        return whole
    return JoinedOnDisk(first, second) if isinstance(first, OnDisk) and isinstance(second, OnDisk) else Joined(first, second)


def _read_alike(first: PairedFiles, second: PairedFiles) -> bool:
    return type(first) is type(second) and {**vars(first), "pairs": ()} == {**vars(second), "pairs": ()}


def check_folds(folds: int, seeds: Sequence[int], argument: str) -> None:
    """Raise a ValueError unless each fold is the validation fold of equally many seeds, which this argument gives."""
    if folds < 2:
        raise ValueError(f"tuning_folds {folds}: expected at least 2, or None for the split of the source")
    counts = Counter(seed % folds for seed in seeds)
    if len(counts) < folds or len(set(counts.values())) > 1:
        raise ValueError(
            f"tuning_folds {folds} with the tuning seeds {', '.join(map(str, seeds))}: each fold has to validate equally often; give "
            f"{folds} successive seeds by {argument}, or a multiple of it"
        )
