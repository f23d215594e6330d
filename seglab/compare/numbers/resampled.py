"""Differences over data splits that overlap: their variance is corrected (Nadeau & Bengio 2003). The last axis is the split.

Splits that share training images give differences that are too alike, so that s²/J is too small a variance of their mean. The
corrected variance is s² (1/J + n_test/n_train). There is no sign-flip test of such differences: their signs are not independent.
"""

import numpy as np
import scipy.stats

from seglab.compare.numbers.statistics import Floats, mean, standard_deviation


def resampled_error(differences: Floats, test_share: float) -> Floats:
    """Return the standard error s √(1/J + n_test/n_train) of the mean difference: (..., J) -> (...). NaN below two splits.

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
    """Return p of 'the mean difference is at least `margin` away from 0', by two one-sided corrected t tests: (..., J) -> (...).

    For equal differences: 0 if the difference is inside the margin, else 1. NaN below two splits. Arguments: see `resampled_error`.
    """
    error, inside = resampled_error(differences, test_share), margin - np.abs(mean(differences))
    p = scipy.stats.t.sf(inside / np.where(error == 0, 1.0, error), max(1, differences.shape[-1] - 1))
    return np.where(error == 0, np.where(inside > 0, 0.0, 1.0), p)


def resampled_interval(differences: Floats, test_share: float, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return the corrected t interval of the mean difference: (..., J) -> low and high, each (...). NaN below two splits.

    Arguments: see `resampled_error`.
    """
    error = resampled_error(differences, test_share)
    half = error * scipy.stats.t.ppf((1 + level) / 2, max(1, differences.shape[-1] - 1))
    return mean(differences) - half, mean(differences) + half
