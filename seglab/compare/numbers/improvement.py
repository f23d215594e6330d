"""Probability that the arm is better than the baseline: an interval of P(A > B)."""

import math

import scipy.stats


def wilson_interval(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a probability whose estimate is `share` of `n` pairs (Wilson 1927).

    Ties may make `share` · n fractional.

    The interval stays within [0, 1], and has a width if `share` is 0 or 1. NaN without pairs.
    """
    if n == 0:
        return math.nan, math.nan
    z2 = float(scipy.stats.norm.ppf((1 + level) / 2)) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)
