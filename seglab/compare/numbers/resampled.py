"""Differences over data splits that overlap: their variance is corrected (Nadeau & Bengio 2003).

The last axis is the split.

Splits that share training images give differences that are too alike, so that s²/J is too small a variance of their
mean. The corrected variance is s² (1/J + n_test/n_train). There is no sign-flip test of such differences: their signs
are not independent.

The t test is exact if the differences are normal and any two of them have the correlation n_test/(n_test + n_train).
"""

import math

import numpy as np
import scipy.optimize
import scipy.stats

from seglab.compare.numbers.statistics import Floats, mean, standard_deviation

FEWEST_SPLITS = 5
"""Smallest number of splits with a verdict. The t test has no lower limit of its own, but two or three equal
differences would have p = 0.
"""

_MOST_SPLITS = 10_000
"""Number of splits above which more splits are of no use."""


def resampled_error(differences: Floats, test_share: float) -> Floats:
    """Return the standard error s √(1/J + n_test/n_train) of the mean difference: (..., J) -> (...).

    NaN below two splits.

    Args:
        differences: (..., J) paired differences, one for each split.
        test_share: n_test/n_train, the number of tested images divided by the number of training images of a split.
    """
    if differences.shape[-1] == 0:
        return np.full(differences.shape[:-1], np.nan)
    return np.asarray(standard_deviation(differences) * np.sqrt(1 / differences.shape[-1] + test_share), dtype=np.float64)


def resampled_p(differences: Floats, test_share: float) -> Floats:
    """Return the two-sided p of 'the mean difference is 0' by the corrected t test: (..., J) -> (...).

    For equal differences: 1 if they are 0, else 0. NaN below two splits. Arguments: see `resampled_error`.
    """
    error, centre = resampled_error(differences, test_share), np.abs(mean(differences))
    p = 2 * scipy.stats.t.sf(centre / np.where(error == 0, 1.0, error), max(1, differences.shape[-1] - 1))
    return np.where(error == 0, np.where(centre == 0, 1.0, 0.0), p)


def resampled_equivalence_p(differences: Floats, test_share: float, margin: float) -> Floats:
    """Return p of 'the mean difference is at least `margin` away from 0': (..., J) -> (...).

    The test is two one-sided corrected t tests.

    For equal differences: 0 if the difference is inside the margin, else 1. NaN below two splits. Arguments: see
    `resampled_error`.
    """
    error, inside = resampled_error(differences, test_share), margin - np.abs(mean(differences))
    p = scipy.stats.t.sf(inside / np.where(error == 0, 1.0, error), max(1, differences.shape[-1] - 1))
    return np.where(error == 0, np.where(inside > 0, 0.0, 1.0), p)


def resampled_interval(differences: Floats, test_share: float, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return the corrected t interval of the mean difference: (..., J) -> low and high, each (...).

    NaN below two splits.

    Arguments: see `resampled_error`.
    """
    error = resampled_error(differences, test_share)
    half = error * scipy.stats.t.ppf((1 + level) / 2, max(1, differences.shape[-1] - 1))
    return mean(differences) - half, mean(differences) + half


def resampled_detectable(sd: float, splits: int, alpha: float, test_share: float, power: float = 0.8) -> float:
    """Return the smallest true difference that the corrected t test shows with probability `power`.

    NaN if `sd` is, or below two splits.

    Args:
        sd: standard deviation of the paired differences over the splits.
        splits: J, the number of splits.
        alpha: level of the test; alpha/m for the first step over m contrasts.
        test_share: see `resampled_error`.
        power: probability of showing the difference.
    """
    if splits < 2 or math.isnan(sd):
        return math.nan
    critical = float(scipy.stats.t.isf(alpha / 2, splits - 1))

    def missing(noncentrality: float) -> float:
        above, below = (float(scipy.stats.nct.sf(critical, splits - 1, sign * noncentrality)) for sign in (1, -1))
        return above + below - power

    found = float(scipy.optimize.brentq(missing, 0.0, 3 * critical + 10, xtol=1e-6))
    return sd * math.sqrt(1 / splits + test_share) * found


def splits_needed(sd: float, margin: float, folds: int, alpha: float, test_share: float) -> int | None:
    """Return the number of splits, a multiple of `folds`, that shows a true difference of `margin` with 80 % power.

    None if no number does: more divisions of the same images do not make more images.

    Args:
        sd: standard deviation of the paired differences over the splits.
        margin: smallest difference that matters, in units of `sd`'s metric.
        folds: number of folds of a repetition.
        alpha, test_share: see `resampled_detectable`.
    """

    def shown(repetitions: int) -> bool:
        return resampled_detectable(sd, repetitions * folds, alpha, test_share) <= margin

    low, high = 0, max(1, _MOST_SPLITS // folds)
    if not shown(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high * folds
