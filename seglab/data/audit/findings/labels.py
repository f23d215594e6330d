"""Labels of all masks together: labels outside the classes, likely mistakes, missing classes and blurred masks.

A class is missing if a split lacks it.
"""

from collections.abc import Collection, Sequence

import numpy as np

from seglab.data.audit.finding import MOST_SHOWN, Audited, Finding, number, some
from seglab.data.audit.look import Look
from seglab.data.contents import Contents, check_labels
from seglab.data.sources.dataset import Split, default_palette
from seglab.sample import IGNORE

BLURRED = 0.1
"""Part of the changes of label that are ramps from which on a mask counts as blurred. In CamVid and Shapes it is at
most 0.04, and at least 0.2 in masks of CamVid that were resized by interpolation.
"""

LEAST_LABELS = 4
"""Least number of labels of a mask that can count as blurred: with three, a border may be a class."""

FEW_PIXELS = 0.01
"""Part of a mask's pixels below which a label of a blurred mask counts as an artefact."""


def findings(audited: Audited, looks: Sequence[Look]) -> list[Finding]:
    """Return findings on labels."""
    labelled = [look for look in looks if look.labels]
    found = [*_blurred(audited, looks), *_unlabelled(labelled), *_only_one_split(audited, labelled)]
    if audited.class_names is None:
        return found
    outside = _outside(audited, labelled, len(audited.class_names))
    return [*outside, *found, *([] if outside else _together(audited, labelled))]


def stored(looks: Sequence[Look]) -> dict[int, int]:
    """Return the number of pixels of each label that the mask files hold, over all masks of labels."""
    pixels: dict[int, int] = {}
    for look in looks:
        for label, count in ({} if look.mask is None or look.mask.kind != "labels" else look.mask.labels).items():
            pixels[label] = pixels.get(label, 0) + count
    return pixels


def explanation(labels: Collection[int]) -> str | None:
    """Return what a set of stored labels looks like; None if it is plain class indices or not known.

    >>> explanation([0, 255])
    'masks of 0 and 255, as drawn in black and white'
    >>> explanation([1, 2, 3])
    'labels that start at 1'
    """
    kept = set(labels) - {IGNORE}
    if len(kept) == 1 and IGNORE in labels:
        return f"masks of {min(kept)} and 255{', as drawn in black and white' if kept == {0} else ''}"
    if len(kept) > 1 and kept == set(range(1, len(kept) + 1)):
        return "labels that start at 1"
    if len(kept) >= 3 and max(kept) > 30 and kept <= voc_greys():
        return "the colours of PASCAL VOC, read as grey"
    if len(kept) >= 2 and max(kept) > 30 and max(kept) + 1 > 4 * len(kept):
        return "labels far apart, as in a legend of grey values"
    return None


def voc_greys() -> set[int]:
    """Return the grey values, by ITU-R 601, of the colours in which PASCAL VOC's 21 classes are drawn."""
    return {round(float(colour @ np.array([0.299, 0.587, 0.114]))) for colour in default_palette(21)}


def _outside(audited: Audited, looks: Sequence[Look], num_classes: int) -> list[Finding]:
    """Find labels that are neither classes nor ignored, explained by all labels of the set."""
    wrong = [look for look in looks if any(label >= num_classes and label != IGNORE for label in look.labels)]
    if not wrong:
        return []
    pixels: dict[int, int] = {}
    for look in looks:
        for label, count in look.labels.items():
            pixels[label] = pixels.get(label, 0) + count
    meaning = explanation(pixels)
    table = ", ".join(f"{label}: {place}" for place, label in enumerate(sorted(set(pixels) - {IGNORE})))
    remedy = "correct the masks or the number of classes, or name a label as void"
    if meaning is not None:
        remedy = f'map the labels, as in --data.source.labels "{{{table}}}"'
    return [
        Finding(
            "error",
            "labels outside the classes" if meaning is None else meaning,
            f"{number(len(wrong), 'mask')} of {len(looks)} have labels that are not in 0…{num_classes - 1}; all labels: "
            f"{some([str(label) for label in sorted(pixels)], 24)}",
            remedy,
            tuple(str(audited.mask_file(look.place) or look.name) for look in wrong),
            tuple((look.place,) for look in wrong[:MOST_SHOWN]),
        )
    ]


def _together(audited: Audited, looks: Sequence[Look]) -> list[Finding]:
    """Return what `SegmentationDataModule.check` says about the labels of all splits."""
    names = audited.class_names or ()
    contents: dict[Split, Contents] = {}
    for split in audited.splits:
        of_split = [look for look in looks if look.place.split == split]
        found = Contents(samples=len(of_split))
        for look in of_split:
            for label, count in look.labels.items():
                if label == IGNORE:
                    found.ignored += count
                else:
                    found.pixels[label] = found.pixels.get(label, 0) + count
        contents[split] = found  # type: ignore[index]  # the splits of a source are train, val and test
    try:
        return [Finding("warning", "classes without a pixel", note, "") for note in check_labels(contents, names)]
    except ValueError as error:
        what, _, remedy = str(error).partition(": ")
        return [Finding("error", "labels that cannot train or test", what, remedy)]


def _blurred(audited: Audited, looks: Sequence[Look]) -> list[Finding]:
    """Return a finding on masks with blurred borders, whose labels lie between those of the neighbours.

    Such masks were resized by interpolation, smoothed, or compressed with loss.
    """
    blurred = [look for look in looks if look.mask is not None and look.mask.kind == "labels" and _is_blurred(look)]
    if not blurred:
        return []
    return [
        Finding(
            "error",
            "masks with blurred borders",
            f"{number(len(blurred), 'mask')} of {len(looks)} have labels at borders that lie between those of the neighbours, and are rare: "
            "they were resized by interpolation, smoothed, or compressed with loss",
            "export the masks again, resized by nearest neighbour, in a lossless format",
            tuple(str(audited.mask_file(look.place)) for look in blurred),
            tuple((look.place,) for look in blurred[:MOST_SHOWN]),
        )
    ]


def _is_blurred(look: Look) -> bool:
    mask = look.mask
    if mask is None or mask.distinct < LEAST_LABELS:
        return False
    total = sum(mask.labels.values())
    rare = [label for label, count in mask.labels.items() if count < FEW_PIXELS * total]
    return (mask.between >= BLURRED and bool(rare)) or (mask.distinct > 12 and len(rare) >= 0.75 * mask.distinct and _beside_frequent(look))


def _beside_frequent(look: Look) -> bool:
    """Return whether at least 90 % of the rare labels differ from a frequent one by at most 16.

    Ringing of JPEG makes such labels around 0 and 255.
    """
    mask = look.mask
    assert mask is not None
    total = sum(mask.labels.values())
    frequent = [label for label, count in mask.labels.items() if count >= FEW_PIXELS * total]
    rare = set(mask.labels) - set(frequent)
    near = [label for label in rare if any(abs(label - one) <= 16 for one in frequent)]
    return bool(frequent) and len(near) >= 0.9 * len(rare)


def _unlabelled(looks: Sequence[Look]) -> list[Finding]:
    """Find samples without a labelled pixel."""
    empty = [look for look in looks if set(look.labels) == {IGNORE}]
    if not empty:
        return []
    return [
        Finding(
            "note",
            "masks without a labelled pixel",
            f"all pixels of {number(len(empty), 'mask')} of {len(looks)} are ignored (255): the images teach and test nothing",
            "remove them, or label them",
            tuple(look.name for look in empty),
            tuple((look.place,) for look in empty[:MOST_SHOWN]),
        )
    ]


def _only_one_split(audited: Audited, looks: Sequence[Look]) -> list[Finding]:
    """Find labels that occur in a single split, if only the files are known.

    With a source, `check_labels` says more.
    """
    if audited.class_names is not None or len(audited.splits) < 2:
        return []
    splits_of: dict[int, set[str]] = {}
    for look in looks:
        for label in look.labels:
            splits_of.setdefault(label, set()).add(look.place.split)
    alone = {label: next(iter(splits)) for label, splits in splits_of.items() if len(splits) == 1 and label != IGNORE}
    if not alone or len(alone) > len(splits_of) / 2:
        return []
    words = [f"{label} in {split}" for label, split in sorted(alone.items())]
    return [
        Finding(
            "warning",
            "labels that one split alone has",
            f"{some(words, 8)}",
            "a class needs pixels in train, val and test: divide the samples anew, or merge classes",
        )
    ]
