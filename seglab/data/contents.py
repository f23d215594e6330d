"""Sizes, format and labels of one split, and what the splits of a data set say together about its labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from seglab.data.sources.dataset import Split


@dataclass(frozen=True)
class Format:
    """Channels and dtype, which all images of a data set have in common."""

    channels: int
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{self.channels} channel{'s' * (self.channels > 1)} of {str(self.dtype).removeprefix('torch.')}"


@dataclass
class Contents:
    """Summary of the samples of one split."""

    samples: int = 0
    images: Format | None = None
    """The format that all images have in common; None without samples."""
    first: str = ""
    """Name of the first sample, for error messages."""
    sizes: set[tuple[int, int]] = field(default_factory=set)
    """Rows and columns of the images."""
    pixels: dict[int, int] = field(default_factory=dict)
    """Number of pixels of each class that occurs, by class."""
    ignored: int = 0
    """Number of pixels without a class."""


MOST_NAMES = 8
"""Largest number of classes that a note names."""


def check_labels(contents: Mapping[Split, Contents], class_names: Sequence[str]) -> tuple[str, ...]:
    """Check that the labels of all splits together can train and test a network.

    Args:
        contents: the summary of each split.
        class_names: names of the C classes.

    Returns:
        Notes on classes that some split lacks, each one line.

    Raises:
        ValueError: a split has no labelled pixel, or all labelled pixels of the training split are of one class
            although there are several classes, or ignored pixels.
    """
    for split, found in contents.items():
        if found.samples and not found.pixels:
            raise ValueError(
                f"none of the {found.samples} masks of {split} has a labelled pixel, as all pixels are ignored: correct the masks of "
                f"{split}, or the table of labels. `seglab audit` with the same --data flags shows the labels"
            )
    train = contents["train"]
    if len(train.pixels) == 1 and (len(class_names) > 1 or train.ignored):
        raise ValueError(_only_one_class(contents, class_names))
    return tuple(_notes(contents, class_names))


def _only_one_class(contents: Mapping[Split, Contents], class_names: Sequence[str]) -> str:
    """Return why masks whose labelled training pixels are of one class cannot be used."""
    (only,) = contents["train"].pixels
    if only == 0 and contents["train"].ignored:
        return (
            f"the training masks hold only the class {class_names[0]!r} (label 0) and ignored pixels (label 255), so that every network "
            "scores 1. If 255 is a class, as in binary masks of 0 and 255, make it one of 2 classes with ImageMaskFolder: "
            '--data.source.labels "{0: 0, 255: 1}", or labels={0: 0, 255: 1}; or else correct the masks'
        )
    elsewhere = {label for found in contents.values() for label in found.pixels} - {only}
    others = f", and other classes occur only in {_splits_with(contents, elsewhere)}" if elsewhere else ""
    return (
        f"all labelled pixels of the {contents['train'].samples} training masks are of the class {class_names[only]!r} (label {only}), but "
        f"there are {len(class_names)} classes{others}: correct the masks, or use more training samples. `seglab audit` with the same "
        "--data flags shows the labels"
    )


def _splits_with(contents: Mapping[Split, Contents], labels: Iterable[int]) -> str:
    return " and ".join(split for split, found in contents.items() if found.pixels.keys() & set(labels))


def _notes(contents: Mapping[Split, Contents], class_names: Sequence[str]) -> Iterable[str]:
    """Yield a line on classes without a pixel in any split, then in each split, then on splits of a single class."""
    lacking = {split: set(range(len(class_names))) - found.pixels.keys() for split, found in contents.items() if found.samples}
    nowhere = set.intersection(*lacking.values()) if lacking else set()
    if nowhere == {0} and len(class_names) > 2:
        yield (
            f"class {class_names[0]!r} (label 0) has no pixel in any split: if the labels start at 1, map them with ImageMaskFolder, as in "
            '--data.source.labels "{1: 0, 2: 1, …}", with one class less'
        )
    elif nowhere:
        yield f"no pixel in any split: {_names(nowhere, class_names)}; are the number of classes and the labels right?"
    meaning = {
        "train": "a network cannot learn them",
        "val": "their IoU on val is not defined, and mIoU leaves them out",
        "test": "their IoU on test is not defined, and mIoU leaves them out",
    }
    for split, missing in lacking.items():
        if missing - nowhere:
            yield f"no pixel in {split}: {_names(missing - nowhere, class_names)}; {meaning[split]}"
    if len(class_names) == 1:
        yield f"{class_names[0]!r} is the only class, so that every network scores 1: the background is a class too"
    for split, found in contents.items():
        if split != "train" and len(found.pixels) == 1 and len(class_names) > 1:
            (only,) = found.pixels
            binary = only == 0 and found.ignored and not contents["train"].ignored
            why = ", and others are ignored, but none in train; are these masks of 0 and 255, and those of train not?" if binary else ""
            yield f"all labelled pixels of {split} are of the class {class_names[only]!r}{why}: {split}/miou is the IoU of this class alone"


def _names(labels: Iterable[int], class_names: Sequence[str]) -> str:
    """Return the names of classes, the first ones if there are many."""
    names = [class_names[label] for label in sorted(labels)]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more}"
