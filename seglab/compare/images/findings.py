"""Certainty of each contrast for new images, from the confusion matrices of the images of each run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seglab.compare.images.counts import ImageCounts, has_groups, read_counts, size_of
from seglab.compare.images.resampling import Units, resampled, units_of
from seglab.compare.images.scores import Statistic, Weights, image_mious, statistic_of
from seglab.compare.numbers.answer import Comparison
from seglab.compare.numbers.contrasts import Contrast
from seglab.compare.numbers.images import crossed_interval
from seglab.compare.numbers.pairing import scores_of, tuning_means
from seglab.compare.numbers.statistics import Floats, paired_differences, standard_deviation, t_interval
from seglab.records import Result, Run

MOST_RUNS = 1000
"""Number of runs up to which a comparison reads `confusion.npz`."""

MOST_BYTES = 8 * 10**9
"""Bytes of the confusion matrices of all runs up to which they are read."""

OTHER_IMAGES = (
    "each seed is tested on other images, so that images cannot be drawn anew for all runs; the interval is over data splits already"
)
"""Reason why a study over data splits has no second interval for new images."""


@dataclass(frozen=True)
class ImageInterval:
    """Uncertainty of one contrast over seeds and images, in raw units of the metric."""

    arm: str
    seed_se: float
    """Standard error of the mean difference over the seeds, on these images."""
    image_se: float
    """Standard error of the mean difference over the images, with these trained networks."""
    low: float
    high: float
    """Upper end of the interval for new seeds and new images. `low` is the lower end."""


@dataclass(frozen=True)
class ImageFindings:
    """Findings of a comparison that rest on the single images of a split."""

    split: str
    units: Units | None = None
    """Unit that was resampled; None if no run could be read."""
    intervals: Mapping[str, ImageInterval] = field(default_factory=dict)
    """Interval of each contrast, by arm."""
    problems: tuple[str, ...] = ()
    """One line for each reason why contrasts or runs have no interval."""
    names: tuple[str, ...] = ()
    """Names of the N images."""
    mious: Mapping[Run, Floats] = field(default_factory=dict)
    """mIoU (N,) of each image in each run that could be read."""


class Read(NamedTuple):
    """Numbers of one run."""

    mious: Floats
    """(N,) mIoU of each image."""
    replicates: Floats | None
    """(B,) the metric on each resample; None if it does not follow from the matrices."""


class _Task(NamedTuple):
    """Arrays that are computed from each run, allocated by the first run that is read."""

    names: tuple[str, ...]
    units: Units
    weights: Weights


def too_large(folder: Path, results: Sequence[Result], split: str) -> str:
    """Return why so many or so large files are not read; an empty text if they are read."""
    if len(results) > MOST_RUNS:
        return f"{len(results):,} runs are more than the {MOST_RUNS:,} that are read; seglab.compare.image_findings reads all"
    first = size_of(results[0].run.directory(folder) / "confusion.npz", split) if results else 0
    if first * len(results) > MOST_BYTES:
        return f"the matrices of {len(results)} runs, {first / 1e6:.0f} MB each, are too large; seglab.compare.image_findings reads all"
    return ""


def image_findings(folder: Path, results: Sequence[Result], comparison: Comparison) -> ImageFindings:
    """Return the uncertainty of each contrast for new images, and the mIoU of each image in each run.

    All runs are tested on the same images, so that one resample b of the images weighs the images of every run. Let
    m*_{a,s,b} be the metric of arm a under seed s on resample b. SE_img of a contrast is the standard deviation over b
    of the mean over s of m*_{a,s,b} - m*_{0,s,b}. It is multiplied by √(U/(U-1)) for U units, because a bootstrap
    variance is (U-1)/U of the unbiased one. `crossed_interval` joins it with the standard error over the seeds. The
    result contains the contrast's own interval over the seeds if that is bounded, else the t interval.

    Each `confusion.npz` is read once, about 5 ms each at 100 images.

    Args:
        folder: folder of the study.
        results: the results that were compared.
        comparison: their comparison.
    """
    metric = comparison.criteria.metric
    split, problems, statistic = metric.image_split, list[str](), None
    if comparison.criteria.splits is not None:
        return ImageFindings(split, problems=(OTHER_IMAGES,))
    try:
        statistic = statistic_of(metric, results[0].class_names) if results else None
    except ValueError as error:
        problems.append(str(error))
    paths = {result.run: result.run.directory(folder) / "confusion.npz" for result in results}
    read: dict[Run, Read] = {}
    task: _Task | None = None
    unread: dict[str, list[Run]] = {}
    for result in sorted(results, key=lambda result: not has_groups(paths[result.run], split)):  # older files have no groups
        try:
            counts = read_counts(paths[result.run], split)
            task = _task(counts) if task is None else task
            read[result.run] = _read(counts.in_order_of(task.names), task, statistic, result.numbers.get(str(metric), math.nan))
        except ValueError as error:
            unread.setdefault(str(error), []).append(result.run)
    problems += [f"{_named(runs)}: {problem}" for problem, runs in unread.items()]
    if task is None:
        return ImageFindings(split, problems=tuple(problems))
    intervals = {}
    for contrast in comparison.contrasts:
        replicates = _replicates(contrast, comparison, read)
        if replicates is not None and 2 * np.isnan(replicates).sum() >= len(replicates):
            problems.append(f"{contrast.arm}: {metric.title} is undefined on half of the resampled images")
        elif replicates is not None and task.units.number > 1:
            intervals[contrast.arm] = _interval(contrast, comparison, replicates[~np.isnan(replicates)], task.units)
    return ImageFindings(split, task.units, intervals, tuple(problems), task.names, {run: one.mious for run, one in read.items()})


def _task(counts: ImageCounts) -> _Task:
    units = units_of(len(counts.names), counts.groups)
    return _Task(counts.names, units, resampled(units))


def _read(counts: ImageCounts, task: _Task, statistic: Statistic | None, score: float) -> Read:
    """Return the numbers of one run.

    Raises:
        ValueError: the counts give another score than `score`, which is the one in the run's result; NaN if it has
            none.
    """
    if statistic is None:
        return Read(image_mious(counts), None)
    again = float(statistic(counts, np.ones_like(task.weights[:1]))[0])
    if not math.isnan(score) and not abs(again - score) <= 1e-9:
        raise ValueError(f"confusion.npz gives a score of {again:.6g}, result.json {score:.6g}: they are not of one evaluation")
    return Read(image_mious(counts), statistic(counts, task.weights))


def _replicates(contrast: Contrast, comparison: Comparison, read: Mapping[Run, Read]) -> Floats | None:
    """Return the mean difference (B,) of a contrast on each resample.

    Return None below two pairs, or if a run of the pairs lacks numbers.
    """
    differences = []
    for seed in contrast.seeds:
        pair = [read.get(Run(comparison.study, arm, seed)) for arm in (contrast.arm, comparison.criteria.baseline)]
        ours, theirs = (None if one is None else one.replicates for one in pair)
        if ours is None or theirs is None:
            return None
        differences.append(ours - theirs)
    return np.asarray(np.mean(differences, axis=0)) if len(differences) > 1 else None


def standard_error(replicates: Floats, units: Units) -> float:
    """Return SE_img of a difference from its values (B,) on resamples of U units.

    SE_img is the standard deviation of the values times √(U/(U-1)).
    """
    return float(standard_deviation(replicates)) * math.sqrt(units.number / (units.number - 1))


def _interval(contrast: Contrast, comparison: Comparison, replicates: Floats, units: Units) -> ImageInterval:
    """Return the interval of a contrast from its mean difference on each resample."""
    scores = {summary.arm: summary.scores for summary in comparison.arms}
    ours, theirs = (
        tuning_means(scores_of(scores[arm], contrast.seeds), contrast.seeds, contrast.tunings)
        for arm in (contrast.arm, comparison.criteria.baseline)
    )
    differences, level = paired_differences(ours, theirs), 1 - comparison.criteria.alpha
    image_se = standard_error(replicates, units)
    low, high = crossed_interval(differences, image_se, units.number, level)
    own = (contrast.low, contrast.high) if math.isfinite(contrast.low) else t_interval(differences, level)
    seed_se = float(standard_deviation(differences)) / math.sqrt(len(differences))
    return ImageInterval(contrast.arm, seed_se, image_se, min(low, float(own[0])), max(high, float(own[1])))


def _named(runs: Sequence[Run]) -> str:
    """Return the names of a few runs as text."""
    first = f"{runs[0].arm}, seed {runs[0].seed}"
    return first if len(runs) == 1 else f"{first} and {len(runs) - 1} more run{'s' * (len(runs) > 2)}"
