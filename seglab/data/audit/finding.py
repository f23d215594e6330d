"""A finding of an audit: what is wrong or remarkable, how bad it is, where it is, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seglab.data.sources.dataset import SegmentationDataset

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""From bad to harmless: training or scores would be wrong; they may be; worth knowing."""


@dataclass(frozen=True)
class Place:
    """A sample of a data set."""

    split: str
    index: int


@dataclass(frozen=True)
class Finding:
    """Something that an audit has found."""

    severity: Severity
    title: str
    """A few words."""
    what: str
    """Description of the finding, and its meaning."""
    remedy: str
    """Remedy; empty if there is nothing to do."""
    files: tuple[str, ...] = ()
    """The files that it is about."""
    pictures: tuple[tuple[Place, ...], ...] = ()
    """Groups of samples that show it, side by side."""


@dataclass(frozen=True)
class Audited:
    """The data set of an audit.

    Args:
        splits: the samples of each split.
        class_names: names of the C classes; None if only the files are known.
        image_files: files of the images of each split; an empty sequence if the samples are no files.
        mask_files: likewise of the masks.
    """

    splits: dict[str, SegmentationDataset]
    class_names: tuple[str, ...] | None
    image_files: dict[str, Sequence[Path]]
    mask_files: dict[str, Sequence[Path]]

    def image_file(self, place: Place) -> Path | None:
        """Return the file of an image; None if there is none."""
        files = self.image_files.get(place.split, ())
        return files[place.index] if files else None

    def mask_file(self, place: Place) -> Path | None:
        """Return the file of a mask; None if there is none."""
        files = self.mask_files.get(place.split, ())
        return files[place.index] if files else None


MOST_SHOWN = 4
"""Largest number of groups of samples that a finding shows."""


def some(words: Sequence[str], most: int = 3) -> str:
    """Return the first of several words, and how many there are.

    >>> some(["a", "b"]), some(["a", "b", "c", "d"])
    ('a, b', 'a, b, c and 1 more')
    """
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return f"{', '.join(words[:most])}{more}"


def number(count: int, thing: str, things: str | None = None) -> str:
    """Return a number with its noun: `1 image`, `2 images`."""
    return f"{count} {thing if count == 1 else things or thing + 's'}"
