"""Read the pixel counts of each evaluated image of a run from its `confusion.npz`."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from seglab.compare.numbers.statistics import Floats

CHUNK = 2**24
"""Bytes of the confusion matrices that are read at a time. 5,000 images of 150 classes are 450 MB."""


@dataclass(frozen=True)
class ImageCounts:
    """Numbers of pixels by class in each of N images: all that the scores of a confusion matrix depend on."""

    names: tuple[str, ...]
    """Names of the images."""
    groups: tuple[str, ...] | None
    """The group of each image, such as its patient; None if none is recorded."""
    hit: Floats
    """(N,C) pixels of a class that are predicted as this class."""
    truth: Floats
    """(N,C) pixels of a class."""
    predicted: Floats
    """(N,C) pixels that are predicted as a class."""

    def in_order_of(self, names: tuple[str, ...]) -> "ImageCounts":
        """Return the same images in the order of `names`.

        Raises:
            ValueError: these are other images, or two have one name.
        """
        if names == self.names:
            return self
        place = {name: place for place, name in enumerate(self.names)}
        if len(place) < len(self.names) or len(names) != len(self.names) or place.keys() != set(names):
            raise ValueError(f"its {len(self.names)} images are not the {len(names)} images of the other runs")
        order = [place[name] for name in names]
        groups = None if self.groups is None else tuple(self.groups[index] for index in order)
        return ImageCounts(names, groups, self.hit[order], self.truth[order], self.predicted[order])


def read_counts(path: Path, split: str) -> ImageCounts:
    """Read the counts of the images of a split.

    The matrices (N,C,C) are reduced while they are read, so that memory stays small.

    Raises:
        ValueError: the file is missing or damaged, or lacks the split; the message does not name the run.
    """
    try:
        with path.open("rb") as file, np.load(file) as arrays:  # an own file, which numpy leaves open if it is damaged
            names, stored = arrays[f"{split}_names"], f"{split}_groups"
            groups = tuple(arrays[stored].tolist()) if stored in arrays else None
            with arrays.zip.open(f"{split}.npy") as stream:
                hit, truth, predicted = _reduced(stream)
    except FileNotFoundError:
        raise ValueError(f"{path.name} is missing") from None
    except KeyError:
        raise ValueError(f"{path.name} has no images of the split {split}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path.name} is damaged ({error})") from None
    if len(names) != len(hit) or (groups is not None and len(groups) != len(hit)):
        named = f"{len(names)} names" if groups is None else f"{len(names)} names, {len(groups)} groups"
        raise ValueError(f"{path.name} is damaged ({len(hit)} matrices for {named})")
    return ImageCounts(tuple(names.tolist()), groups, hit, truth, predicted)


def has_groups(path: Path, split: str) -> bool:
    """Return whether a file names the groups of the images of a split."""
    return f"{split}_groups.npy" in _sizes(path)


def size_of(path: Path, split: str) -> int:
    """Return the number of bytes of the confusion matrices of a split; 0 if the file cannot be read."""
    return _sizes(path).get(f"{split}.npy", 0)


def _sizes(path: Path) -> dict[str, int]:
    """Return the bytes of each array of a file; nothing if the file cannot be read."""
    try:
        with zipfile.ZipFile(path) as file:
            return {member.filename: member.file_size for member in file.infolist()}
    except (OSError, zipfile.BadZipFile):
        return {}


def _reduced(stream: Any) -> tuple[Floats, Floats, Floats]:
    """Read an array (N,C,C) in the format of numpy, and return its diagonals, row sums and column sums, each (N,C).

    Raises:
        ValueError: the array has another shape, or ends early.
    """
    read_header = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    if len(shape) != 3 or shape[1] != shape[2] or fortran or dtype.kind not in "iu":
        raise ValueError(f"an array {shape} of {dtype}; expected whole numbers (N,C,C)")
    images, classes, _ = shape
    sums = np.empty((3, images, classes))
    step = max(1, CHUNK // (classes * classes * dtype.itemsize))
    for first in range(0, images, step):
        number = min(step, images - first)
        data = stream.read(number * classes * classes * dtype.itemsize)
        matrices = np.frombuffer(data, dtype).reshape(number, classes, classes)
        place = slice(first, first + number)
        sums[0, place] = matrices.diagonal(axis1=1, axis2=2)
        sums[1, place], sums[2, place] = matrices.sum(2, dtype=np.int64), matrices.sum(1, dtype=np.int64)
    return sums[0], sums[1], sums[2]
