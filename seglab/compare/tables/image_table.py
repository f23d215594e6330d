"""Tables about the images of a split: contrasts for new images, and scores of single images."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from rich.console import Group

from seglab.compare.images.findings import ImageFindings, ImageInterval
from seglab.compare.metric import Metric
from seglab.compare.numbers.answer import ArmSummary, Comparison
from seglab.compare.numbers.contrasts import Contrast
from seglab.compare.tables.column import Block, Column, Table, to_group
from seglab.compare.unit import UNDEFINED
from seglab.records import IMAGE_SCORES


class ImageRow(NamedTuple):
    """A contrast, and its interval for new seeds and new images."""

    contrast: Contrast
    interval: ImageInterval


def image_score_table(comparison: Comparison) -> Table[ArmSummary]:
    """Return the pooled mIoU, and the means over images, of each arm that has scores of single images."""
    split = comparison.criteria.metric.class_split
    shown = [Metric(split, score) for score in ("miou", *IMAGE_SCORES)]
    return Table(
        [
            Column("arm", lambda arm: arm.arm, align="left", wraps=True),
            *(Column(metric.heading, partial(_spread, metric)) for metric in shown),
        ],
        [Block("", [arm for arm in comparison.arms if str(shown[1]) in arm.secondary])],
        legend=f"Mean ± standard deviation over the seeds, on the {split} images. mIoU sums the pixels of all images first, so that an image "
        "counts by its pixels; in the other columns each image counts once, and a class counts in an image that has it or is given it.",
        kind=lambda arm: "baseline" if arm.arm == comparison.criteria.baseline else "",
    )


def _spread(metric: Metric, arm: ArmSummary) -> str:
    spread = arm.secondary.get(str(metric))
    return UNDEFINED if spread is None else metric.unit.mean_and_sd(spread.mean, spread.sd)


def image_table(comparison: Comparison, images: ImageFindings) -> Table[ImageRow]:
    """Return the interval of each contrast over the seeds, and for new images too.

    It is empty if no contrast has the second one.
    """
    unit, level = comparison.criteria.metric.unit, comparison.criteria.level
    step, units = f", {unit.step}" if unit.step else "", "tunings" if comparison.criteria.tunings > 1 else "seeds"
    rows = [ImageRow(contrast, images.intervals[contrast.arm]) for contrast in comparison.contrasts if contrast.arm in images.intervals]
    return Table(
        [
            Column("arm", lambda row: row.contrast.arm, align="left", wraps=True),
            Column(f"difference{step}", lambda row: unit.difference(row.contrast.difference)),
            Column(f"over {units} [{level}]", lambda row: unit.interval(row.contrast.low, row.contrast.high)),
            Column(f"for new images too [{level}]", lambda row: unit.interval(row.interval.low, row.interval.high)),
            Column(f"SE {units}", lambda row: unit.value(row.interval.seed_se)),
            Column("SE images", lambda row: unit.value(row.interval.image_se)),
        ],
        [Block("", rows)],
        legend=_legend(images, units),
        remarks=remarks(comparison, images),
    )


def images_to_table(comparison: Comparison, images: ImageFindings) -> Group:
    """Return `image_table` for `rich.console.Console().print`."""
    return to_group(image_table(comparison, images))


def remarks(comparison: Comparison, images: ImageFindings) -> Sequence[str]:
    """Return lines on contrasts that may hold for these images only, on few groups, and on missing intervals."""
    found = [note for contrast in comparison.contrasts for note in _weaker(contrast, comparison, images)]
    if images.intervals and images.units is not None and images.units.kind == "images" and images.units.groups:
        named = ", ".join(images.units.groups)
        found.append(
            f"the {images.split} images are of {len(images.units.groups)} group{'s' * (len(images.units.groups) > 1)} ({named}), too few to "
            "resample groups, so single images are resampled. Images of a group are alike: the intervals for new images are too narrow, and say nothing about new groups"
        )
    return [*found, *(f"no interval for new images: {problem}" for problem in images.problems)]


def _weaker(contrast: Contrast, comparison: Comparison, images: ImageFindings) -> list[str]:
    """Return a line if a contrast holds over the seeds, but not for new images: its difference, or its equivalence."""
    if contrast.arm not in images.intervals:
        return []
    wide, margin, unit = images.intervals[contrast.arm], comparison.criteria.margin, comparison.criteria.metric.unit
    if (contrast.low > 0 or contrast.high < 0) and wide.low <= 0 <= wide.high:
        return [
            f"{contrast.arm}: for new images too, the interval {unit.interval(wide.low, wide.high)} holds 0: the difference may be one of "
            f"these {len(images.names)} images only"
        ]
    inside = margin is not None and -margin < contrast.low and contrast.high < margin
    if inside and margin is not None and not (-margin < wide.low and wide.high < margin):
        return [
            f"{contrast.arm}: for new images too, the interval {unit.interval(wide.low, wide.high)} leaves {comparison.criteria.within}: "
            f"the equivalence may be one on these {len(images.names)} images only"
        ]
    return []


def _legend(images: ImageFindings, units: str) -> str:
    if images.units is None:
        return ""
    what = f"{len(images.names)} {images.split} images"
    if images.units.kind == "groups":
        what += f" of {images.units.number} groups, which were resampled as a whole"
    return (
        f"For new images too: from {units} and images together, the same resamples of the {what} in every run. SE: standard error of the "
        f"difference over the {units} on these images, and over the images with these networks. Each interval is for its own contrast."
    )
