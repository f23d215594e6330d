"""The protocol of a data set: indexed samples with named classes. A data set needs these members and no base class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from seglab.sample import Sample

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class SegmentationDataset(Protocol):
    """One split: samples by index. A sample is the same at every call; randomness belongs to the augmentation."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the C classes, in the order of the labels 0…C-1."""

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: int) -> Sample:
        """Return sample `index`, at its original size. Several threads may call it at once."""


def check_split(dataset: SegmentationDataset, origin: str) -> None:
    """Check that a split has the members of `SegmentationDataset`, and a sample.

    Args:
        dataset: the data set.
        origin: the call that has returned it, for the error message.

    Raises:
        ValueError: a member is missing, or there are no samples.
    """
    members = ("class_names", "num_classes", "__len__", "__getitem__")
    if missing := [name for name in members if not hasattr(dataset, name)]:
        found = "None" if dataset is None else f"a {type(dataset).__name__}"
        raise ValueError(
            f"{origin} returned {found}; expected a SegmentationDataset, with {', '.join(members)}; it has no {' and no '.join(missing)}"
        )
    if len(dataset) == 0:
        raise ValueError(f"{origin} returns no samples: expected at least one; correct the place of the data, or the names it looks for")


@runtime_checkable
class OnDisk(Protocol):
    """Additional methods of a data set of files: its identity is independent of its folder, and errors name a file."""

    def fingerprint(self) -> str:
        """Return a hash of the names and sizes of the files.

        It does not depend on the folder that contains the files.
        """

    def mask_file(self, index: int) -> Path:
        """Return the file of the mask of sample `index`."""


@runtime_checkable
class OnDiskInParts(OnDisk, Protocol):
    """A data set of files that can hash some of its files.

    With `train_fraction`, unused files then do not change the identity.
    """

    def fingerprint_of(self, indices: Sequence[int]) -> str:
        """Return the `fingerprint` of the files of these samples."""


def default_palette(num_classes: int) -> npt.NDArray[np.uint8]:
    """Return (C,3) uint8 colours, those of PASCAL VOC: class 0 is black, and all colours differ."""
    index = np.arange(num_classes, dtype=np.uint8)
    colours = np.zeros((num_classes, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((index >> channel) & 1) << (7 - bit)
        index >>= 3
    return colours
