"""Predictions of all arms side by side, on the images where the arms differ most."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seglab.compare.images.boxes import KEY, Box, SheetBoxes, SheetRow
from seglab.compare.images.findings import OTHER_IMAGES, ImageFindings
from seglab.compare.numbers.statistics import Floats
from seglab.compare.unit import PERCENT
from seglab.records import Run

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_IMAGES = 4
"""Number of images that are shown."""

MOST_ARMS = 12
"""Number of arms that are shown, the baseline first."""


@dataclass(frozen=True)
class Prediction:
    """Prediction of one run on one image. Pictures are PNG files as data addresses."""

    run: Run
    prediction: str
    errors: str
    miou: str
    """mIoU of the image in this run, and the mean over the seeds of the arm, as text."""


@dataclass(frozen=True)
class Example:
    """One image with the predictions of the arms. Pictures are PNG files as data addresses."""

    name: str
    range: str
    """Difference between the largest and the smallest mean mIoU of an arm on the image, as text; empty if unknown."""
    image: str
    truth: str
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True)
class SideBySide:
    """The images on which the arms differ most."""

    examples: tuple[Example, ...]
    legend: str
    """The classes and their colours: a PNG file as a data address."""
    caption: str


@dataclass(frozen=True)
class _Sheet:
    run: Run
    picture: "Image"
    boxes: SheetBoxes

    def row(self, name: str) -> SheetRow:
        """Return the panels of an image."""
        return next(row for row in self.boxes.rows if row.name == name)

    def cut(self, box: Box) -> str:
        """Return a part of the sheet as a data address."""
        file = BytesIO()
        self.picture.crop(box).save(file, format="PNG")
        return png_address(file.getvalue())


def png_address(content: bytes) -> str:
    """Return a PNG file as a data address."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def side_by_side(folder: Path, runs: Sequence[Run], images: ImageFindings) -> SideBySide | None:
    """Return the images of the sheets on which the arms differ most, with the predictions of one run of each arm.

    The images are sorted by the range over the arms of their mIoU, as the mean over the seeds of an arm.

    Args:
        folder: folder of the study.
        runs: the run of each arm that is shown, the baseline first.
        images: mIoU of each image in each run.

    Returns:
        None if a sheet is missing, damaged or of an earlier version, or if the sheets have no image in common.
    """
    sheets = [_sheet(run, run.directory(folder) / "predictions.png") for run in runs[:MOST_ARMS]]
    shown = [sheet for sheet in sheets if sheet is not None]
    if not shown or len(shown) < len(sheets):
        return None
    pool = [row.name for row in shown[0].boxes.rows if all(row.name in {other.name for other in sheet.boxes.rows} for sheet in shown)]
    if not pool:
        return None
    means = _means(images)
    ranges = {name: _range([means[sheet.run.arm].get(name, np.nan) for sheet in shown if sheet.run.arm in means]) for name in pool}
    chosen = sorted(pool, key=lambda name: -ranges[name] if np.isfinite(ranges[name]) else np.inf)[:MOST_IMAGES]
    longest = max(shown, key=lambda sheet: sheet.boxes.legend[3] - sheet.boxes.legend[1])
    return SideBySide(
        tuple(_example(name, ranges[name], shown, images, means) for name in chosen),
        longest.cut(longest.boxes.legend),
        _caption(len(chosen), len(pool), images, more=len(runs) > MOST_ARMS),
    )


def _sheet(run: Run, path: Path) -> _Sheet | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            picture = file.convert("RGB")  # reads the file to its end
            return _Sheet(run, picture, SheetBoxes.from_text(str(file.info[KEY])))
    except (OSError, ValueError, KeyError, SyntaxError, UnidentifiedImageError):
        return None


def _means(images: ImageFindings) -> dict[str, dict[str, float]]:
    """Return the mean mIoU over the seeds of each image, by arm and name."""
    by_arm: dict[str, list[Floats]] = {}
    for run, mious in images.mious.items():
        by_arm.setdefault(run.arm, []).append(mious)
    return {arm: dict(zip(images.names, np.mean(mious, axis=0).tolist(), strict=True)) for arm, mious in by_arm.items()}


def _range(values: Sequence[float]) -> float:
    return float(np.ptp(values)) if values else np.nan


def _example(
    name: str, difference: float, sheets: Sequence[_Sheet], images: ImageFindings, means: Mapping[str, Mapping[str, float]]
) -> Example:
    first = sheets[0].row(name)
    own = {run: dict(zip(images.names, mious.tolist(), strict=True)) for run, mious in images.mious.items()}
    predictions = []
    for sheet in sheets:
        row, arm = sheet.row(name), sheet.run.arm
        seeds = sum(run.arm == arm for run in images.mious)
        known = sheet.run in own and name in own[sheet.run]
        miou = (
            f"mIoU {PERCENT.value(own[sheet.run][name])} %; mean of {seeds} seed{'s' * (seeds > 1)} {PERCENT.value(means[arm][name])} %"
            if known
            else ""
        )
        predictions.append(Prediction(sheet.run, sheet.cut(row.prediction), sheet.cut(row.errors), miou))
    largest = PERCENT.amount(difference) if np.isfinite(difference) else ""
    return Example(name, largest, sheets[0].cut(first.image), sheets[0].cut(first.truth), tuple(predictions))


def _caption(shown: int, pool: int, images: ImageFindings, more: bool) -> str:
    """Return which images are shown, and how they were chosen."""
    kept = f"Each run keeps the predictions of {pool} images, spread evenly over the {len(images.names) or pool} {images.split} images."
    order = f"Shown are the {shown} of them on which the mIoU of the image, as the mean over the seeds, differs most between the arms."
    if not images.mious:
        why = "no confusion.npz was read, which says where the arms differ most"
        if OTHER_IMAGES in images.problems:
            why = "each seed is tested on other images, so that no image has a mean over the seeds"
        order = f"Shown are the first {shown} of them: {why}."
    arms = f" Of more than {MOST_ARMS} arms the first {MOST_ARMS} are shown." if more else ""
    return f"{kept} {order}{arms} One run of each arm, the lowest seed: an illustration, not evidence."
