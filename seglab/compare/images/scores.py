"""Compute scores from the pixel counts of images that are weighted, for example by how often a resample has drawn them.

No torch.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from seglab.compare.images.counts import ImageCounts
from seglab.compare.metric import Metric
from seglab.compare.numbers.statistics import Floats
from seglab.records import IMAGE_SCORES

Weights = NDArray[np.uint16]
"""(B,N): how often each of N images counts, in each of B resamples."""

BLOCK = 2**22
"""Numbers of a block of weights that is converted to float64 at a time: 32 MiB."""


class Statistic(Protocol):
    """A score as a function of weighted images."""

    def __call__(self, counts: ImageCounts, weights: Weights) -> Floats:
        """Return the score (B,) under each row of weights (B,N); NaN where it is undefined."""


def statistic_of(metric: Metric, class_names: Sequence[str]) -> Statistic:
    """Return the score of a metric as a function of weighted images. The scores are those of `seglab.metrics.Scores`.

    Raises:
        ValueError: the metric does not follow from the confusion matrices of images; the message says why.
    """
    if metric.split not in ("val", "test"):
        raise ValueError(f"{metric.title} is not counted image by image; val and test scores are")
    if metric.class_name is None and metric.score in IMAGE_SCORES:
        return _worst if metric.score == "image_miou_worst10" else lambda counts, weights: _mean_over_images(metric, counts, weights)
    if metric.class_name is None and metric.score in MEANS:
        mean = MEANS[metric.score]
        return lambda counts, weights: _pooled(mean, counts, weights)
    if metric.class_name in class_names and metric.score in PER_CLASS:
        one, place = PER_CLASS[metric.score], class_names.index(metric.class_name)
        return lambda counts, weights: _pooled(lambda *pixels: np.asarray(one(*pixels)[:, place]), counts, weights)
    raise ValueError(f"{metric.title} does not follow from the confusion matrix of each image; mIoU, Dice and accuracies do")


def image_mious(counts: ImageCounts) -> Floats:
    """Return the mIoU (N,) of each image; NaN for an image without a valid pixel."""
    return _mean_of_defined(_iou(counts.hit, counts.truth, counts.predicted))


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole; NaN where `whole` is 0."""
    undefined = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    return np.asarray(np.divide(part, whole, out=undefined, where=whole > 0))


def _mean_of_defined(values: Floats) -> Floats:
    """Return the mean over the last axis of all values except NaN; NaN if there is none."""
    return _ratio(np.nansum(values, axis=-1), np.sum(~np.isnan(values), axis=-1).astype(np.float64))


def _iou(hit: Floats, truth: Floats, predicted: Floats) -> Floats:
    return _ratio(hit, truth + predicted - hit)


def _dice(hit: Floats, truth: Floats, predicted: Floats) -> Floats:
    return _ratio(2 * hit, truth + predicted)


def _rare_miou(hit: Floats, truth: Floats, predicted: Floats) -> Floats:
    """Return the mean IoU of the rarer half of the present classes, of equally frequent classes the first."""
    rank = np.where(truth > 0, truth, np.inf).argsort(axis=-1, kind="stable").argsort(axis=-1)
    present = np.sum(truth > 0, axis=-1, keepdims=True)
    rare = rank < np.minimum(np.maximum(present // 2, 1), present)
    return _mean_of_defined(np.where(rare, _iou(hit, truth, predicted), np.nan))


Score = Callable[[Floats, Floats, Floats], Floats]
"""Computes scores (B,C) or (B,) from the pixels (B,C) of hits, truth and predictions."""

PER_CLASS: dict[str, Score] = {
    "iou": _iou,
    "dice": _dice,
    "precision": lambda hit, truth, predicted: _ratio(hit, predicted),
    "recall": lambda hit, truth, predicted: _ratio(hit, truth),
    "frequency": lambda hit, truth, predicted: _ratio(truth, truth.sum(-1, keepdims=True)),
}
"""Scores of each class."""

MEANS: dict[str, Score] = {
    "miou": lambda *pixels: _mean_of_defined(_iou(*pixels)),
    "dice": lambda *pixels: _mean_of_defined(_dice(*pixels)),
    "rare_miou": _rare_miou,
    "pixel_accuracy": lambda hit, truth, predicted: _ratio(hit.sum(-1), truth.sum(-1)),
    "class_accuracy": lambda hit, truth, predicted: _mean_of_defined(_ratio(hit, truth)),
    "fwiou": lambda hit, truth, predicted: _ratio(np.nansum(truth * _iou(hit, truth, predicted), axis=-1), truth.sum(-1)),
}
"""Scores of all classes together."""


def _pooled(score: Score, counts: ImageCounts, weights: Weights) -> Floats:
    """Return a score of the sum of weighted images under each row of weights."""
    columns = np.concatenate([counts.hit, counts.truth, counts.predicted], axis=1)
    rows = max(1, BLOCK // max(1, weights.shape[1]))
    blocks = (weights[first : first + rows].astype(np.float64) @ columns for first in range(0, len(weights), rows))
    return np.concatenate([score(*np.split(block, 3, axis=1)) for block in blocks])


def _mean_over_images(metric: Metric, counts: ImageCounts, weights: Weights) -> Floats:
    """Return the weighted mean of the images' mIoU or Dice under each row of weights."""
    one = PER_CLASS["iou" if metric.score == "image_miou" else "dice"]
    values = _mean_of_defined(one(counts.hit, counts.truth, counts.predicted))
    defined = ~np.isnan(values)
    return _ratio(weights[:, defined] @ values[defined], weights[:, defined].sum(1, dtype=np.float64))


def _worst(counts: ImageCounts, weights: Weights) -> Floats:
    """Return the mean mIoU of the lowest tenth of the weighted images under each row of weights."""
    values = image_mious(counts)
    order = np.argsort(values, kind="stable")[: int(np.sum(~np.isnan(values)))]
    drawn = weights[:, order].astype(np.int64)
    before = drawn.cumsum(axis=1) - drawn
    number = np.maximum(drawn.sum(1) // 10, 1)[:, None]
    taken = np.clip(number - before, 0, drawn)
    return _ratio(taken @ values[order], taken.sum(1).astype(np.float64))
