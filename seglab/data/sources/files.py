"""Samples from pairs of files: an image, and a mask whose pixel values are class indices."""

import hashlib
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from seglab.data.arrays import Array, as_tensor
from seglab.data.reading.read import opened, read_image, read_mask
from seglab.sample import IGNORE, Sample


class Pair(NamedTuple):
    """An image and its mask."""

    image: Path
    mask: Path


class PairedFiles(Dataset[Sample]):
    """One split of a data set on disk. The name of a sample is the path of its image below `root`, in the composed form of Unicode (NFC).

    Args:
        root: folder from which names of samples are relative paths, so that names do not depend on where the data lie.
        pairs: files of the images and masks.
        class_names: names of the C classes, in the order of the labels.
        void: label in the files, besides 255, that means "not annotated" and is read as `IGNORE`. It may be -1 in masks of signed integers,
            or above 255 in masks of more than 8 bits.
        table: the class of each label in the files, `IGNORE` for none; None if the files hold class indices. 255 is ignored unless the
            table names it, and any other label that is not in the table is refused.
    """

    def __init__(
        self,
        root: Path,
        pairs: Sequence[Pair],
        class_names: tuple[str, ...],
        void: int | None = None,
        table: Mapping[int, int] | None = None,
    ) -> None:
        self.root, self.pairs, self.class_names, self.void, self.table = root, pairs, class_names, void, table

    @property
    def num_classes(self) -> int:
        """C, the number of classes without void."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        stored = read_mask(pair.mask)
        mask = labels(stored, self.void, pair.mask) if self.table is None else mapped(stored, self.void, self.table, pair.mask)
        return Sample(as_tensor(read_image(pair.image)), torch.from_numpy(mask), self._name(pair.image))

    def mask_file(self, index: int) -> Path:
        """Return the file of the mask of sample `index`."""
        return self.pairs[index].mask

    def fingerprint(self) -> str:
        """Return a hash of the file names below `root`, the images' sizes in bytes, and the masks' contents.

        Masks are hashed in full, because they are small and are corrected more often than images.
        """
        return self.fingerprint_of(range(len(self)))

    def fingerprint_of(self, indices: Sequence[int]) -> str:
        """Return the `fingerprint` of a data set of only the samples `indices`."""
        lines = []
        for image, mask in (self.pairs[index] for index in indices):
            with opened(image, "an image", "its mask") as stream:
                size = os.fstat(stream.fileno()).st_size
            with opened(mask, "a mask", "its image") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            lines += [f"{self._name(image)} {size}", f"{self._name(mask)} {content}"]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def _name(self, file: Path) -> str:
        return composed(file.relative_to(self.root).as_posix())


def composed(name: str) -> str:
    """Return a name in the composed form of Unicode (NFC). Some systems write names in the decomposed form, so that é is e and an accent."""
    return unicodedata.normalize("NFC", name)


def labels(mask: Array, void: int | None, file: Path) -> npt.NDArray[np.uint8]:
    """Return a mask (H,W) of labels of any integer type as uint8, with the label `void` as `IGNORE`.

    Raises:
        ValueError: the mask cannot hold the label `void`, or another label is outside of 0…255. The message names the file.
    """
    held = np.iinfo(mask.dtype)
    if void is not None and not held.min <= void <= held.max:
        raise ValueError(
            f"{file}: void is {void}, but this mask of {mask.dtype} can only hold {held.min} to {held.max}: correct void, or the mask"
        )
    if mask.dtype == np.uint8 and void is None:
        return mask
    ignored = np.zeros(mask.shape, np.bool_) if void is None else mask == void
    if mask.dtype != np.uint8:
        kept = mask[~ignored]
        if kept.size and (kept.min() < 0 or kept.max() > IGNORE):
            raise ValueError(
                f"{file}: values {kept.min()}…{kept.max()} ({mask.dtype}); expected class indices 0…{IGNORE}: correct the mask, or name "
                "the label of pixels without a class as void"
            )
    return np.where(ignored, np.uint8(IGNORE), mask.astype(np.uint8, copy=False))


def mapped(mask: Array, void: int | None, table: Mapping[int, int], file: Path) -> npt.NDArray[np.uint8]:
    """Return the classes (H,W) uint8 that a table gives to the labels of a mask (H,W) of any integer type.

    Args:
        mask: labels as stored.
        void: a label that is ignored, besides 255.
        table: the class of each label, or `IGNORE`. It comes before `void`.
        file: the file of the mask.

    Raises:
        ValueError: a label is not in the table. The message names the file.
    """
    values, places = np.unique(mask, return_inverse=True)
    classes = {IGNORE: IGNORE, **({} if void is None else {void: IGNORE}), **table}
    if unknown := [int(value) for value in values if int(value) not in classes]:
        known = ", ".join(str(label) for label in sorted(table))
        raise ValueError(
            f"{file}: label {unknown[0]} is not in the table of labels, which has {known}: add the label to it, or correct the mask"
        )
    return np.array([classes[int(value)] for value in values], np.uint8)[places].reshape(mask.shape)
