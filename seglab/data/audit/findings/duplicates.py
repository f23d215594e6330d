"""Images that occur twice: the same file, or nearly the same picture, within a split and across splits."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from seglab.data.audit.finding import MOST_SHOWN, Finding, Place, number
from seglab.data.audit.look import LEVELS, Image, Look

MOST_BITS = 8
"""Largest number of different bits, of 64, of two perceptual hashes whose thumbnails are compared."""

MOST_DIFFERENCE = 0.05
"""Largest root mean square difference of the thumbnails of nearly equal images, in their standard deviation."""

MOST_PAIRS = 1000
"""Largest number of pairs that are reported."""


def findings(looks: Sequence[Look]) -> list[Finding]:
    """Return findings on images that occur twice."""
    equal = _equal(looks)
    return [*_exact(equal), *_labelled_twice(equal), *_near(looks)]


def _equal(looks: Sequence[Look]) -> list[list[Look]]:
    """Return the groups of samples whose images are the same, byte by byte."""
    groups: dict[bytes, list[Look]] = {}
    for look in looks:
        if look.image_content:
            groups.setdefault(look.image_content, []).append(look)
    return [group for group in groups.values() if len(group) > 1]


def _exact(groups: Sequence[Sequence[Look]]) -> list[Finding]:
    across = [group for group in groups if len({look.place.split for look in group}) > 1]
    within = [group for group in groups if len({look.place.split for look in group}) == 1]
    found = []
    if across:
        found.append(
            Finding(
                "error",
                "equal images in several splits",
                f"{number(len(across), 'image')} {'is' if len(across) == 1 else 'are'} in more than one split, byte for byte: scores on "
                "val and test are too high",
                "remove the copies from all splits but one",
                _names(across),
                _shown(across),
            )
        )
    if within:
        found.append(
            Finding(
                "warning",
                "equal images in one split",
                f"{number(len(within), 'image')} {'occurs' if len(within) == 1 else 'occur'} more than once in a split, byte for byte, and "
                "count more than others",
                "remove the copies, unless they are meant",
                _names(within),
                _shown(within),
            )
        )
    return found


def _labelled_twice(groups: Sequence[Sequence[Look]]) -> list[Finding]:
    different = [group for group in groups if len({look.mask_content for look in group if look.mask_content}) > 1]
    if not different:
        return []
    return [
        Finding(
            "warning",
            "equal images with different masks",
            f"{number(len(different), 'image')} {'has' if len(different) == 1 else 'have'} more than one mask, and the masks differ",
            "keep the right mask",
            _names(different),
            _shown(different),
        )
    ]


def _near(looks: Sequence[Look]) -> list[Finding]:
    """Find images that are nearly equal, such as a copy that was compressed again, resized or brightened."""
    first: dict[bytes, tuple[Look, Image]] = {}
    for look in looks:
        if look.image is not None and look.image.thumbnail.any():
            first.setdefault(look.image_content, (look, look.image))
    kept = list(first.values())
    hashes = np.array([image.perceptual for _, image in kept], np.uint64)
    alike = (
        [kept[one][0], kept[other][0]] for one, other in close_pairs(hashes) if difference(kept[one][1], kept[other][1]) <= MOST_DIFFERENCE
    )
    pairs = list(itertools.islice(alike, MOST_PAIRS))
    across = [pair for pair in pairs if pair[0].place.split != pair[1].place.split]
    within = [pair for pair in pairs if pair[0].place.split == pair[1].place.split]
    found = []
    if across:
        found.append(
            Finding(
                "warning",
                "nearly equal images in several splits",
                f"{number(len(across), 'pair')} of images that look the same but for compression, size or brightness "
                f"{'is' if len(across) == 1 else 'are'} in different splits: scores on val and test are too high",
                "look at the pictures, and keep copies, and neighbouring frames of a video, in one split",
                _names(across),
                _shown(across),
            )
        )
    if within:
        found.append(
            Finding(
                "note",
                "nearly equal images in one split",
                f"{number(len(within), 'pair')} of images of one split look the same but for compression, size or brightness, such as "
                "frames of a video in which nothing moves",
                "",
                _names(within),
                _shown(within),
            )
        )
    return found


def close_pairs(hashes: npt.NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of hashes (N,) with at most `MOST_BITS` different bits, in the order of the first hash.

    All pairs are compared.
    """
    for one in range(len(hashes) - 1):
        bits = np.bitwise_count(hashes[one + 1 :] ^ hashes[one])
        yield from ((one, one + 1 + int(place)) for place in np.flatnonzero(bits <= MOST_BITS))


def difference(one: Image, other: Image) -> float:
    """Return the root mean square difference of two thumbnails, in their standard deviation."""
    levels = one.thumbnail.astype(np.float32) - other.thumbnail
    return float(np.sqrt(np.mean(levels**2)) / LEVELS)


def _names(groups: Sequence[Sequence[Look]]) -> tuple[str, ...]:
    return tuple(" = ".join(look.name for look in group) for group in groups)


def _shown(groups: Sequence[Sequence[Look]]) -> tuple[tuple[Place, ...], ...]:
    return tuple(tuple(look.place for look in group[:3]) for group in groups[:MOST_SHOWN])
