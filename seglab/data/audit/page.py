"""The page of an audit: one HTML file with the findings, their pictures, and the labels of each split."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import seglab
from seglab.data.audit.audit import Report
from seglab.data.audit.finding import Finding
from seglab.data.audit.look import Look
from seglab.data.audit.pictures import Shown, shown
from seglab.files import atomic_write
from seglab.sample import IGNORE

MOST_FILES = 200
"""Largest number of files that a finding lists on the page."""

MOST_LABELS = 64
"""Largest number of labels in the table of labels."""


class Share(NamedTuple):
    """A label in one split."""

    pixels: float
    """Part of the split's pixels, in percent."""
    images: int
    """Number of samples that have it."""


@dataclass(frozen=True)
class LabelRow:
    """A label in all splits."""

    label: int
    name: str
    colour: str
    """In the form #rrggbb."""
    shares: tuple[Share, ...]


def label_rows(looks: Sequence[Look], names: Sequence[str] | None, palette: npt.NDArray[np.uint8]) -> tuple[LabelRow, ...]:
    """Return the labels of a data set with their share in each split, in the order of labels; ignored pixels last."""
    splits = list(dict.fromkeys(look.place.split for look in looks))
    pixels: Counter[tuple[str, int]] = Counter()
    images: Counter[tuple[str, int]] = Counter()
    totals: Counter[str] = Counter()
    for look in looks:
        for label, count in look.labels.items():
            pixels[look.place.split, label] += count
            images[look.place.split, label] += 1
            totals[look.place.split] += count
    rows = []
    for label in sorted({label for _, label in images})[:MOST_LABELS]:
        shares = tuple(Share(100 * pixels[split, label] / max(1, totals[split]), images[split, label]) for split in splits)
        name = "ignored" if label == IGNORE else names[label] if names is not None and label < len(names) else ""
        colour = (255, 255, 255) if label == IGNORE or label >= len(palette) else tuple(int(part) for part in palette[label])
        rows.append(LabelRow(label, name, "#{:02x}{:02x}{:02x}".format(*colour), shares))
    return tuple(rows)


@dataclass(frozen=True)
class Illustrated:
    """A finding with its pictures."""

    finding: Finding
    groups: tuple[tuple[Shown, ...], ...]
    files: tuple[str, ...]
    left_out: int
    """Number of files that are not listed."""


def write_page(file: Path, title: str, report: Report, command: str, palette: npt.NDArray[np.uint8]) -> None:
    """Write the page of an audit.

    Args:
        file: the page; its folder exists.
        title: name of the data set.
        report: what the audit has found.
        command: a command that trains on the data, once errors are mended; empty if none is known.
        palette: (C,3) colours of the labels.

    Raises:
        OSError: the page cannot be written; a file that was there is as before.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("seglab.data.audit", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    audited, looks = report.audited, report.survey.looks
    illustrated = [
        Illustrated(
            finding,
            tuple(tuple(shown(audited, place, palette) for place in group) for group in finding.pictures),
            finding.files[:MOST_FILES],
            max(0, len(finding.files) - MOST_FILES),
        )
        for finding in report.findings
    ]
    text = environment.get_template("page.html").render(
        title=title,
        illustrated=illustrated,
        splits={split: len(dataset) for split, dataset in audited.splits.items()},
        rows=label_rows(looks, audited.class_names, palette),
        command=command,
        errors=any(finding.severity == "error" for finding in report.findings),
        version=seglab.__version__,
    )
    with atomic_write(file) as stream:
        stream.write(text.encode(errors="surrogateescape"))
