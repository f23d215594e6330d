"""Paired statistics as functions of arrays. The last axis is the pair (the seed); leading axes are separate problems.

An undefined statistic is NaN, never an exception: an interval needs two pairs, an effect size needs unequal
differences.
"""

import math

import numpy as np
import scipy.stats
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def paired_differences(scores: Floats, baseline: Floats) -> Floats:
    """Return `scores - baseline`, rounded to 12 digits of the largest score.

    An exact test counts ties, and 0.3 - 0.2 and 0.2 - 0.1 differ in binary. Rounding makes such differences equal.
    """
    largest = max(np.abs(scores).max(initial=0.0), np.abs(baseline).max(initial=0.0))
    digits = 12 - math.ceil(math.log10(largest)) if largest > 0 else 12
    return np.asarray(np.round(scores - baseline, digits), dtype=np.float64)


def standard_deviation(values: Floats) -> Floats:
    """Return the standard deviation with n - 1 in the denominator: (..., n) -> (...).

    Exactly 0 for equal values; NaN below two values.
    """
    if values.shape[-1] < 2:
        return np.full(values.shape[:-1], np.nan)
    return np.where(np.ptp(values, axis=-1) == 0, 0.0, np.std(values, axis=-1, ddof=1))


def mean(values: Floats) -> Floats:
    """Return the mean: (..., n) -> (...). Exact for equal values; NaN, without a warning, for no values."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    return np.where(np.ptp(values, axis=-1) == 0, values[..., 0], np.mean(values, axis=-1))


def t_interval(differences: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return Student's interval of the mean difference (Student 1908): (..., n) -> low and high, each (...).

    The percentile bootstrap is no alternative: with 5 to 10 pairs it covers the mean only 84 to 90 % of the time.
    """
    n = differences.shape[-1]
    if n < 2:
        return np.full(differences.shape[:-1], np.nan), np.full(differences.shape[:-1], np.nan)
    half = scipy.stats.t.ppf((1 + level) / 2, n - 1) * standard_deviation(differences) / math.sqrt(n)
    return mean(differences) - half, mean(differences) + half


def equivalence_p(differences: Floats, margin: float) -> Floats:
    """Return p of 'the mean difference is at least `margin` away from 0': (..., n) -> (...).

    The test is two one-sided t tests (Schuirmann 1987).

    For equal differences: 0 if the difference is inside the margin, else 1. NaN below two pairs.
    """
    n = differences.shape[-1]
    if n < 2:
        return np.full(differences.shape[:-1], np.nan)
    centre, error = mean(differences), standard_deviation(differences) / math.sqrt(n)
    nearest = (margin - np.abs(centre)) / np.where(error == 0, 1.0, error)
    return np.where(error == 0, np.where(np.abs(centre) < margin, 0.0, 1.0), scipy.stats.t.sf(nearest, n - 1))


def effect_size(differences: Floats) -> Floats:
    """Return d_z = mean / standard deviation of the differences (Cohen 1988, §2.3.5): (..., n) -> (...).

    NaN for equal differences.
    """
    spread = standard_deviation(differences)
    return np.where(spread == 0, np.nan, mean(differences) / np.where(spread == 0, 1.0, spread))


def skewness(differences: Floats) -> Floats:
    """Return the skewness m₃ / m₂^{3/2} of the central moments: (..., n) -> (...).

    NaN below three values, and for equal values.

    The sign-flip test and its interval assume symmetric differences. An absolute skewness above 1 with 8 or more pairs
    speaks against it.
    """
    if differences.shape[-1] < 3:
        return np.full(differences.shape[:-1], np.nan)
    around = differences - mean(differences)[..., None]
    m2, m3 = np.mean(around**2, axis=-1), np.mean(around**3, axis=-1)
    return np.where(m2 == 0, np.nan, m3 / np.where(m2 == 0, 1.0, m2) ** 1.5)


def probability_of_superiority(gains: Floats) -> Floats:
    """Return P(A > B), the share of pairs with a gain (Vargha & Delaney 2000, within pairs): (..., n) -> (...).

    Ties count half.
    """
    return mean((gains > 0) + 0.5 * (gains == 0))


def correlation(scores: Floats, baseline: Floats) -> float:
    """Return Pearson's ρ of two (n,) arrays: the larger it is, the more pairing by seed gains.

    NaN below two pairs, or for a constant array.
    """
    if len(scores) < 2 or np.ptp(scores) == 0 or np.ptp(baseline) == 0:
        return math.nan
    return float(np.corrcoef(scores, baseline)[0, 1])


def expected_best(scores: Floats) -> Floats:
    """Return the expected score of the best of k settings: (..., n) -> (..., n), k = 1 ... n.

    The k settings are chosen at random from the n that were tried.

    This is the expected maximum without replacement, Σᵢ C(i-1, k-1) / C(n, k) · v₍ᵢ₎ over the ordered scores v (Dodge
    et al. 2019, in the unbiased form of Tang et al. 2020). A useless setting has the score -inf. The expected score is
    -inf as long as all k settings can be useless.
    """
    n = scores.shape[-1]
    chances = np.array([[math.comb(i, k - 1) / math.comb(n, k) for i in range(n)] for k in range(1, n + 1)])  # P(i-th is best of k)
    ordered = np.broadcast_to(np.sort(scores, axis=-1)[..., None, :], (*scores.shape, n))
    return np.asarray(np.multiply(chances, ordered, out=np.zeros(ordered.shape), where=chances > 0).sum(axis=-1), dtype=np.float64)


def pairs_needed(alpha: float, contrasts: int = 1) -> int:
    """Return the smallest number of pairs whose exact two-sided p can reach `alpha` after Holm's first step.

    Holm's first step multiplies p by `contrasts`.
    """
    return math.ceil(math.log2(2 * contrasts / alpha))
