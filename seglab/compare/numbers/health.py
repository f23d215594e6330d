"""Signs of a study whose numbers cannot be trusted, as functions of arrays."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import scipy.stats

from seglab.compare.numbers.statistics import Floats

FALSE_ALARMS = 0.01
"""Probability of a false alarm in a check of all arms of a study. A false alarm is a finding although all runs of an
arm are drawn from one normal distribution.
"""

FEWEST_SEEDS = 5
"""Number of seeds from which an outlier can be told from chance."""

LEARNT = 0.01
"""IoU from which a class counts as learnt at all."""

_DRAWN = 1_000_000  # normal values from which the limit of the modified z score is computed


def modified_z(values: Floats) -> Floats:
    """Return M = 0.6745 (x - median) / MAD (Iglewicz & Hoaglin 1993, §3): (..., n) -> (..., n).

    MAD is the median absolute deviation from the median. Where it is 0, M of the median is 0, and M of any other value
    is infinite.
    """
    deviation = values - np.median(values, axis=-1, keepdims=True)
    mad = np.median(np.abs(deviation), axis=-1, keepdims=True)
    return np.where(mad > 0, 0.6745 * deviation / np.where(mad > 0, mad, 1.0), np.where(deviation == 0, 0.0, np.inf))


@cache
def outlier_limit(n: int, rate: float) -> float:
    """Return the limit that the largest |M| of n normal values exceeds with probability `rate`, and at least 3.5.

    Iglewicz & Hoaglin use the limit 3.5.

    With few values 3.5 is too strict: one of 5 normal values exceeds it in 21 % of the samples, one of 10 in 13 %.
    """
    drawn = np.random.default_rng(0).normal(size=(_DRAWN // n, n))
    return max(3.5, float(np.quantile(np.abs(modified_z(drawn)).max(axis=-1), 1 - rate)))


def outliers(values: Floats, least: float, rate: float = FALSE_ALARMS) -> list[int]:
    """Return indices of outliers in values (n,): |M| above `outlier_limit`, and farther than `least` from the median.

    Empty for fewer than `FEWEST_SEEDS` values. Up to half of the values can be outliers without hiding each other.
    """
    if len(values) < FEWEST_SEEDS:
        return []
    far = np.abs(modified_z(values)) > outlier_limit(len(values), rate)
    return np.flatnonzero(far & (np.abs(values - np.median(values)) > least)).tolist()


def is_collapsed(iou: Floats, frequency: Floats) -> bool:
    """Return whether at most one class is learnt although the truth has several, by IoU and share (C,) of classes."""
    return bool(np.sum(frequency > 0) > 1 and np.sum(iou >= LEARNT) <= 1)


def is_still_falling(losses: Sequence[Floats], rate: float = FALSE_ALARMS) -> bool:
    """Return whether losses fell in the last quarter of training as fast as on average, or faster.

    With L₁ … L₄ the mean loss of each quarter, a straight line gives L₃ - L₄ = (L₁ - L₄) / 3, and a curve that flattens
    gives less. The loss still falls if L₃ - L₄ is at least that, and greater than 0 by a one-sided t test (Welch 1947)
    at level `rate`. The mean of each run is subtracted first, so that a difference between runs is no noise.

    Args:
        losses: training losses (n,) of each run in the order of the steps; a run with fewer than 8 losses is not used.
        rate: level of the test.
    """
    quarters = [np.array_split(values - values.mean(), 4) for values in losses if len(values) >= 8]
    if not quarters:
        return False
    first, _, third, last = (np.concatenate(values) for values in zip(*quarters, strict=True))
    steep = third.mean() - last.mean() >= (first.mean() - last.mean()) / 3 > 0
    return bool(steep and scipy.stats.ttest_ind(third, last, equal_var=False, alternative="greater").pvalue < rate)
