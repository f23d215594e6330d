"""The difference that a number of seeds can show, and the number of seeds that a difference needs."""

import functools
import math
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.stats

from seglab.compare.numbers.exact import sign_flip_interval
from seglab.compare.numbers.statistics import Floats, mean, pairs_needed, standard_deviation

_MOST_DRAWN = 16
"""Largest number of pairs for which critical values are drawn. With more pairs Student's differ from them by less than
1 %, up to m = 20.
"""
_SUMS = 2**21
"""Number of subset sums for the critical values of one number of pairs. The computation takes a tenth of a second, for
an error of about 0.01 sd.
"""
_MANY = 1000
"""Number of pairs above which the number from Student's test is off by less than one pair."""


class SeedsNeeded(NamedTuple):
    """Number of seeds for a power of 80 %."""

    difference: int
    """Seeds that show a true difference as large as the margin."""
    equivalence: int
    """Seeds that show equivalence if the true difference is 0."""


def detectable(sd: float, n: int, m: int, alpha: float, power: float = 0.8) -> float:
    """Return the smallest true difference that the sign-flip test of normal differences shows with probability `power`.

    The verdict needs p <= α/m, Holm's first step. The test rejects 'greater' exactly if 0 is below its interval, that
    is if Student's t of the differences exceeds a critical value h that depends only on the pattern of the residuals: h
    = √n (mean - low)/s. Patterns are drawn with a fixed seed; given a pattern, the power has a closed form in the
    difference. Above 16 pairs h is Student's quantile.

    Args:
        sd: standard deviation of a paired difference.
        n: number of pairs.
        m: number of contrasts of the family.
        alpha: error rate of the family.
        power: probability of showing the difference.

    Returns:
        The difference, in units of `sd`'s metric. inf if no p can reach α/m; NaN if `sd` is.

    Raises:
        ValueError: an argument is outside of its range.
    """
    _check(sd, m, alpha)
    if n < pairs_needed(alpha, m):
        return math.inf
    critical, spread = _critical(n, alpha / m)[:, None], _spreads(n)
    bounds = (critical * spread / math.sqrt(n)).ravel()  # in units of sd: the mean of the residuals must exceed it

    def missing(difference: float) -> float:
        return float(np.mean(scipy.stats.norm.cdf(math.sqrt(n) * (difference - bounds)))) - power

    return sd * float(scipy.optimize.brentq(missing, 0.0, bounds.max() + 10 / math.sqrt(n), xtol=1e-6))


def _check(sd: float, m: int, alpha: float) -> None:
    if sd < 0:
        raise ValueError(f"standard deviation {sd}: expected a number that is at least 0")
    if m < 1:
        raise ValueError(f"{m} contrasts: expected at least 1")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}: expected a number between 0 and 1")


@functools.lru_cache(maxsize=64)
def _critical(n: int, alpha: float) -> Floats:
    """Return critical values of Student's t, one for each drawn pattern of residuals."""
    if n > _MOST_DRAWN:
        return np.array([scipy.stats.t.isf(alpha / 2, n - 1)])
    patterns = np.random.default_rng(0).normal(size=(min(2000, _SUMS // 2**n), n))
    low, _ = sign_flip_interval(patterns, 1 - alpha)
    return np.asarray(math.sqrt(n) * (mean(patterns) - low) / standard_deviation(patterns), dtype=np.float64)


@functools.lru_cache(maxsize=64)
def _spreads(n: int) -> Floats:
    """Return quantiles of the sample's standard deviation, relative to the true one, at 32 equally likely points.

    The distribution is χ_{n-1}/√(n-1).
    """
    return np.asarray(scipy.stats.chi.ppf((np.arange(32) + 0.5) / 32, n - 1) / math.sqrt(n - 1), dtype=np.float64)


def seeds_needed(sd: float, margin: float, m: int, alpha: float) -> SeedsNeeded:
    """Return the numbers of seeds that show a difference of `margin`, and equivalence within it, with a power of 80 %.

    For equivalence, the true difference is taken as 0, and n is the smallest number with (t_{1-α/m,n-1} + t_{.9,n-1})
    sd/√n <= margin (Julious 2004). The first number is not below that with which an exact p can reach α/m, and the
    second not below that without which there is no verdict.

    Args:
        sd: standard deviation of a paired difference.
        margin: smallest difference that matters, in units of `sd`'s metric.
        m: number of contrasts of the family.
        alpha: error rate of the family.

    Raises:
        ValueError: an argument is outside of its range, or `sd` is NaN.
    """
    _check(sd, m, alpha)
    if not (margin > 0 and math.isfinite(sd)):
        raise ValueError(f"margin {margin} and standard deviation {sd}: expected a positive margin and a finite deviation")
    fewest = pairs_needed(alpha, m)
    difference = _smallest_n(sd / margin, (1 - alpha / (2 * m), 0.8))
    if difference <= _MANY:
        first = max(fewest, difference - 1)  # Student's test needs no more pairs than the exact test
        difference = next(n for n in range(first, first + 100) if detectable(sd, n, m, alpha) <= margin)
    return SeedsNeeded(difference, max(pairs_needed(alpha), _smallest_n(sd / margin, (1 - alpha / m, 0.9))))


def _smallest_n(ratio: float, probabilities: tuple[float, float]) -> int:
    """Return the smallest n >= 2 with (t_{p,n-1} + t_{q,n-1}) ratio <= √n."""
    normal = sum(float(scipy.stats.norm.ppf(p)) for p in probabilities)
    n = max(2, math.floor((normal * ratio) ** 2))  # a normal quantile is below Student's, so n cannot be smaller
    while sum(float(scipy.stats.t.ppf(p, n - 1)) for p in probabilities) * ratio > math.sqrt(n):
        n += 1
    return n


def upper_sd(sd: float, n: int, level: float = 0.8) -> float:
    """Return the upper limit of the true standard deviation, given `sd` of n values (Browne 1995).

    The limit is sd √((n - 1)/χ²_{1-level,n-1}).

    The deviation of a pilot study is too small more often than not. The limit is too small in a share 1 - level of the
    pilots. NaN below two values.
    """
    if n < 2:
        return math.nan
    return sd * math.sqrt((n - 1) / float(scipy.stats.chi2.ppf(1 - level, n - 1)))
