"""Divide samples into parts: at random, by groups, stratified by class content, and into folds.

The parts are a function of the samples' names, the seed and the sizes alone. They are the same on every machine: they
depend neither on the order in which a file system lists files nor on a global random state. No group of samples, such
as a patient's images, is cut.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


def hash_order(names: Sequence[str], seed: int) -> list[int]:
    """Return the indices of names in a random order: sorted by a hash of (seed, name).

    The order of two names does not depend on the other names. Hence an added file moves no other file, and first parts
    of the order nest.
    """
    return sorted(range(len(names)), key=lambda index: (_hash(names[index], seed), names[index]))


def rounded_sizes(length: int, fractions: Sequence[float]) -> list[int]:
    """Return the number of the remaining samples, then the rounded size of each fraction of `length` samples.

    A positive fraction has at least 1 sample. At least 1 sample remains if there are enough.

    >>> rounded_sizes(10, (0.2, 0.3))
    [5, 2, 3]
    """
    sizes = [max(1, round(fraction * length)) if fraction > 0 else 0 for fraction in fractions]
    while sum(sizes) >= length and max(sizes) > 1:
        sizes[sizes.index(max(sizes))] -= 1
    return [length - sum(sizes), *sizes]


def fold_sizes(length: int, folds: int) -> list[int]:
    """Return the sizes of folds, which differ by at most 1.

    >>> fold_sizes(10, 4)
    [3, 3, 2, 2]
    """
    return [length // folds + (fold < length % folds) for fold in range(folds)]


def divide(names: Sequence[str], sizes: Sequence[int], seed: int, groups: Sequence[str] | None = None) -> list[int]:
    """Return the part of each sample: 0…len(sizes)-1. Parts with a size of 0 stay empty.

    Groups, or else samples, come in a random order, and the parts are filled one after the other, the last part first.
    Without groups the parts have the given sizes. With groups, each part gets at least one group, and ends where its
    size is closest to the given one.

    Args:
        names: names of the samples, all different.
        sizes: wanted number of samples of each part; their sum is the number of samples.
        seed: seed of the order.
        groups: the group of each sample; None if each sample is a group.

    Raises:
        ValueError: there are fewer groups than parts.
    """
    units = _units(names, groups)
    wanted = [part for part in reversed(range(len(sizes))) if sizes[part]]
    _check_enough(units, len(wanted), groups)
    found = [0] * len(names)
    queue = [units[index] for index in hash_order([unit.name for unit in units], seed)]
    left, place = len(names), 0
    for later, part in zip(reversed(range(len(wanted))), wanted, strict=True):
        remaining = sum(sizes[other] for other in wanted[len(wanted) - later - 1 :])
        target, taken = left * sizes[part] / remaining, 0
        while place < len(queue) - later and (taken == 0 or later == 0 or _is_closer(taken, len(queue[place].members), target)):
            for sample in queue[place].members:
                found[sample] = part
            taken, place = taken + len(queue[place].members), place + 1
        left -= taken
    return found


def divide_stratified(
    names: Sequence[str], sizes: Sequence[int], seed: int, pixels: Counts, groups: Sequence[str] | None = None
) -> list[int]:
    """Return the part of each sample, so that every class has about the same share of images and pixels in each part.

    K. Sechidis, G. Tsoumakas, I. Vlahavas, "On the stratification of multi-label data", ECML PKDD 2011, algorithm 1:
    the rarest label that is left is dealt out first, each time to the part that lacks most of it. A class gives an
    image up to four labels: the image contains the class, and it has more of its pixels than each quartile of the
    images that contain it. A full part gets no more samples, so that without groups the parts have the given sizes. A
    group counts with the labels of all its images.

    Args:
        names, sizes, seed, groups: see `divide`.
        pixels: (N,C) number of pixels of each class in each sample.

    Raises:
        ValueError: there are fewer groups than parts.
    """
    units = _units(names, groups)
    wanted = [part for part in range(len(sizes)) if sizes[part]]
    _check_enough(units, len(wanted), groups)
    labels = _labels(pixels)
    held = np.array([labels[unit.members].sum(axis=0) for unit in units])  # (units,labels)
    length, size = len(names), np.array([sizes[part] for part in wanted], np.int64)
    lacking = size[:, None] * held.sum(axis=0)  # (parts,labels), times N so that all numbers are whole
    room = size * length  # (parts,), likewise
    waiting = hash_order([unit.name for unit in units], seed)
    empty, found = set(range(len(wanted))), [0] * length
    while waiting:
        left = held[waiting].sum(axis=0)
        rarest = int(np.where(left > 0, left, np.iinfo(np.int64).max).argmin())
        dealt = [unit for unit in waiting if held[unit, rarest]] if left[rarest] else list(waiting)
        for unit in dealt:
            needy = [part for part in range(len(wanted)) if room[part] > 0] or list(range(len(wanted)))
            open_parts = sorted(empty) if len(waiting) <= len(empty) else needy
            lack = lacking[:, rarest] if left[rarest] else room
            part = max(open_parts, key=lambda part: (lack[part], room[part], _hash(f"{units[unit].name} {part}", seed)))
            lacking[part] -= length * held[unit]
            room[part] -= length * len(units[unit].members)
            for sample in units[unit].members:
                found[sample] = wanted[part]
            empty.discard(part)
            waiting.remove(unit)
    return found


class _Unit(NamedTuple):
    """Samples that stay together."""

    name: str
    members: list[int]


def _units(names: Sequence[str], groups: Sequence[str] | None) -> list[_Unit]:
    """Return the groups, or else the samples, sorted by name, so that the order of the samples does not matter."""
    members: dict[str, list[int]] = {}
    for index, name in enumerate(names if groups is None else groups):
        members.setdefault(name, []).append(index)
    return [_Unit(name, members[name]) for name in sorted(members)]


def _check_enough(units: Sequence[_Unit], parts: int, groups: Sequence[str] | None) -> None:
    if len(units) < parts:
        what = "samples" if groups is None else "groups"
        raise ValueError(f"{len(units)} {what} for {parts} parts: expected at least one for each part; add {what}, or ask for fewer parts")


def _is_closer(taken: int, more: int, target: float) -> bool:
    """Return whether a part of `taken` samples comes closer to its target with `more` samples."""
    return abs(taken + more - target) < abs(taken - target)


def _labels(pixels: Counts) -> Counts:
    """Return the labels (N,4C) of each image, 0 or 1.

    For each class, the image contains the class, and it has more pixels of the class than each of the three quartiles.
    """
    quartiles = [np.quantile(held[held > 0], (0.25, 0.5, 0.75), method="lower") if held.any() else np.zeros(3) for held in pixels.T]
    thresholds = np.array([[0, *found] for found in quartiles])  # (C,4)
    return (pixels[:, :, None] > thresholds).reshape(len(pixels), -1).astype(np.int64)


def _hash(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\n{name}".encode()).digest()
