"""Images that occur twice: the same file, or nearly the same picture, within a split and across splits."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from seglab.data.arrays import as_array
from seglab.data.audit.finding import MOST_SHOWN, Audited, Finding, Place, number
from seglab.data.audit.look import Look, thumbnail
from seglab.data.check import sample_of
from seglab.data.reading.read import read_image

MOST_BITS = 12
"""Largest number of different bits, of 256, of two images that are compared pixel by pixel."""

MOST_DIFFERENCE = 0.065
"""Largest root mean square difference of two thumbnails, scaled to mean 0 and standard deviation 1, of images that count as nearly equal."""

MOST_COMPARED = 5000
"""Largest number of pairs that are compared pixel by pixel."""


def findings(audited: Audited, looks: Sequence[Look]) -> list[Finding]:
    """Return findings on images that occur twice."""
    equal = _equal(looks)
    return [*_exact(equal), *_labelled_twice(equal), *_near(audited, looks)]


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


def _near(audited: Audited, looks: Sequence[Look]) -> list[Finding]:
    """Images that are nearly equal, such as a copy that was compressed again, resized or brightened."""
    first: dict[bytes, Look] = {}
    for look in looks:
        if look.image is not None and min(look.image.std) > 0:
            first.setdefault(look.image_content, look)
    kept = list(first.values())
    hashes = np.array([look.image.perceptual for look in kept if look.image is not None], np.uint64).reshape(len(kept), 4)
    pairs = []
    for compared, (one, other) in enumerate(close_pairs(hashes)):
        if compared == MOST_COMPARED:
            break
        if difference(_thumbnail(audited, kept[one].place), _thumbnail(audited, kept[other].place)) <= MOST_DIFFERENCE:
            pairs.append([kept[one], kept[other]])
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
    """Yield the pairs of hashes (N,4) with at most `MOST_BITS` different bits, all pairs being compared, in the order of the first one."""
    for one in range(len(hashes) - 1):
        near = np.flatnonzero(np.bitwise_count(hashes[one + 1 :, 0] ^ hashes[one, 0]) <= MOST_BITS) + one + 1
        bits = np.bitwise_count(hashes[near] ^ hashes[one]).sum(axis=1)
        yield from ((one, int(other)) for other in near[bits <= MOST_BITS])


def difference(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Return the root mean square difference of two thumbnails, each scaled to mean 0 and standard deviation 1."""
    scaled = [(image - image.mean()) / max(float(image.std()), 1e-6) for image in (one, other)]
    return float(np.sqrt(np.mean((scaled[0] - scaled[1]) ** 2)))


def _thumbnail(audited: Audited, place: Place) -> npt.NDArray[np.float32]:
    file = audited.image_file(place)
    return thumbnail(as_array(sample_of(audited.splits[place.split], place.index).image) if file is None else read_image(file))


def _names(groups: Sequence[Sequence[Look]]) -> tuple[str, ...]:
    return tuple(" = ".join(look.name for look in group) for group in groups)


def _shown(groups: Sequence[Sequence[Look]]) -> tuple[tuple[Place, ...], ...]:
    return tuple(tuple(look.place for look in group[:3]) for group in groups[:MOST_SHOWN])
