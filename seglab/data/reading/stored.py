"""Pixels as a file stores them, before orientation and data type are settled."""

import math
import mmap
from tempfile import TemporaryFile
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seglab.data.arrays import Array

MOST_PIXELS = 2**30
"""Largest number of pixels of an image, 32768 × 32768. A larger number is more likely a damaged header, and asks for
gigabytes.
"""


LARGE = 2**28
"""Number of bytes above which the pixels of a TIFF or an array lie in a memory-mapped file, not in memory."""


class UnusableError(ValueError):
    """A file is not damaged, but its content cannot be used.

    The message does not name the file: `read.opened` adds its name.
    """


class Stored(NamedTuple):
    """Pixels of one file."""

    pixels: Array
    """(H,W) or (H,W,C)"""
    orientation: int = 1
    """EXIF's number, 1 to 8, of the turn and reflection in which a viewer shows the pixels; 1 is neither."""


def check_size(rows: int, columns: int) -> None:
    """Check the number of pixels before they are decoded.

    Raises:
        UnusableError: there are none, or more than `MOST_PIXELS`.
    """
    if rows < 1 or columns < 1:
        raise UnusableError(f"{rows}×{columns} pixels (rows × columns); expected at least one")
    if rows * columns > MOST_PIXELS:
        raise UnusableError(
            f"{rows}×{columns} pixels (rows × columns); expected at most {MOST_PIXELS}: cut the image into tiles, and its mask if it has one"
        )


def upright(stored: Stored) -> Array:
    """Return the pixels as a viewer shows them: turned and reflected as the orientation flag says."""
    pixels = stored.pixels
    match stored.orientation:
        case 2:
            return pixels[:, ::-1]
        case 3:
            return pixels[::-1, ::-1]
        case 4:
            return pixels[::-1]
        case 5:
            return pixels.swapaxes(0, 1)
        case 6:
            return pixels[::-1].swapaxes(0, 1)
        case 7:
            return pixels[::-1, ::-1].swapaxes(0, 1)
        case 8:
            return pixels[:, ::-1].swapaxes(0, 1)
        case _:
            return pixels


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Return an array whose values are to be set. A large one is a temporary file that is mapped into memory."""
    if math.prod(shape) * np.dtype(dtype).itemsize <= LARGE:
        return np.empty(shape, dtype)
    with TemporaryFile() as file:
        mapped: Array = np.memmap(file, np.dtype(dtype), "w+", shape=shape)
    return mapped


def forget(pixels: Array) -> None:
    """Let the system take back the memory of an image that is mapped from a file, until it is read again."""
    base: object = pixels
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
        base.madvise(mmap.MADV_DONTNEED)
