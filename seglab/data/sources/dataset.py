"""What a data set is to seglab: indexed samples with named classes. Anything with these members will do; nothing to inherit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from seglab.sample import Sample

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class SegmentationDataset(Protocol):
    """One split: samples by index, the same at every call (randomness belongs to the augmentation)."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The C names, in the order of the labels 0…C-1."""

    @property
    def num_classes(self) -> int:
        """C."""

    def __len__(self) -> int:
        """The number of samples."""

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`, at its original size. May be called from several threads at once."""


@runtime_checkable
class OnDisk(Protocol):
    """What a data set of files offers besides, so that data are recognised wherever they lie and errors name a file."""

    def fingerprint(self) -> str:
        """A hash that changes with the files' names or sizes and not with the folder they lie in."""

    def mask_file(self, index: int) -> Path:
        """Where the mask of sample `index` is read from."""


@runtime_checkable
class OnDiskInParts(OnDisk, Protocol):
    """What makes `train_fraction` see changes of the files that are used alone; without it, all files of the split count."""

    def fingerprint_of(self, indices: Sequence[int]) -> str:
        """`fingerprint`, of the files of these samples."""


def default_palette(num_classes: int) -> npt.NDArray[np.uint8]:
    """(C,3) uint8 colours, the ones of PASCAL VOC: class 0 is black, every index has a colour of its own."""
    index = np.arange(num_classes, dtype=np.uint8)
    colours = np.zeros((num_classes, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((index >> channel) & 1) << (7 - bit)
        index >>= 3
    return colours
