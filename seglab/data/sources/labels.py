"""Convert the labels or the colours of a stored mask to classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from seglab.data.arrays import Array
from seglab.sample import IGNORE

Colour = tuple[int, int, int]
"""Red, green and blue, 0…255."""


def labels(mask: Array, void: int | None, file: Path) -> npt.NDArray[np.uint8]:
    """Return a mask (H,W) of labels of any integer type as uint8, with the label `void` as `IGNORE`.

    Raises:
        ValueError: the mask cannot hold the label `void`, or another label is outside of 0…255. The message names the
            file.
    """
    if mask.dtype == np.uint8 and void is None:
        return mask
    held = np.iinfo(mask.dtype)
    if void is not None and not held.min <= void <= held.max:
        raise ValueError(
            f"{file}: void is {void}, but this mask of {mask.dtype} can only hold {held.min} to {held.max}: correct void, or the mask"
        )
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
    classes = {IGNORE: IGNORE, **({} if void is None else {void: IGNORE}), **table}
    if mask.dtype in (np.uint8, np.uint16):
        found = _lookup(classes, np.iinfo(mask.dtype).max + 1).take(mask)
        if found.min(initial=0) >= 0:
            return found.astype(np.uint8)
    values, places = np.unique(mask, return_inverse=True)
    if unknown := [int(value) for value in values if int(value) not in classes]:
        known = ", ".join(str(label) for label in sorted(table))
        raise ValueError(
            f"{file}: label {unknown[0]} is not in the table of labels, which has {known}: add the label to it, or correct the mask"
        )
    return np.array([classes[int(value)] for value in values], np.uint8)[places].reshape(mask.shape)


def classes_of_colours(
    mask: npt.NDArray[np.uint8], classes: Mapping[Colour, int], names: Sequence[str], file: Path
) -> npt.NDArray[np.uint8]:
    """Return the classes (H,W) uint8 of a mask in colours (H,W,3).

    Args:
        mask: red, green and blue of each pixel.
        classes: the class of each colour, or `IGNORE`.
        names: names of the classes, for messages.
        file: the file of the mask.

    Raises:
        ValueError: a colour has no class. The message names the file, the most frequent such colour, its pixels and the
            nearest colour.
    """
    known = sorted(classes.items(), key=lambda item: int(_codes(np.array([[item[0]]], np.uint8))[0, 0]))
    codes, colours = _codes(mask), np.array([colour for colour, _ in known], np.uint8)
    known_codes = _codes(colours[None])[0]
    places = np.searchsorted(known_codes, codes).clip(max=len(known) - 1)
    if (wrong := known_codes[places] != codes).any():
        raise ValueError(f"{file}: {_wrong_colours(mask[wrong], classes, names)}")
    return np.array([index for _, index in known], np.uint8).take(places)


def _wrong_colours(pixels: npt.NDArray[np.uint8], classes: Mapping[Colour, int], names: Sequence[str]) -> str:
    """Return what is wrong with pixels (N,3) whose colours have no class."""
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    colour = tuple(found[counts.argmax()].tolist())
    near = min(classes, key=lambda known: sum((one - other) ** 2 for one, other in zip(known, colour, strict=True)))
    meaning = "which is ignored" if classes[near] == IGNORE else f"of class {names[classes[near]]!r}"
    among = f", the most frequent of {len(found)} such colours," if len(found) > 1 else ""
    grey = ", or give the table a column id if the mask holds labels" if len(set(colour)) == 1 else ""
    return (
        f"the colour {colour} of {counts.max()} pixels{among} is not in the table of classes; nearest is {near}, {meaning}: "
        f"add the colour to the table, or correct the mask{grey}"
    )


def _codes(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Return a number (H,W) for each colour (H,W,3), the same for equal colours."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(colours), cv2.COLOR_RGB2RGBA)).view(np.uint32)[..., 0]


def _lookup(classes: Mapping[int, int], length: int) -> npt.NDArray[np.int16]:
    """Return the class of each label 0…length-1; -1 for a label without a class."""
    table = np.full(length, -1, np.int16)
    for label, index in classes.items():
        if 0 <= label < length:
            table[label] = index
    return table
