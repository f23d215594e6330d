"""How often the arm is better than the baseline: an interval of P(A > B), and the rule of Bouthillier et al. (2021)."""

import math

import scipy.stats

MEANINGFUL = 0.75
"""γ of Bouthillier et al. (2021), §6: an arm is meaningfully better if it is better in at least this share of the pairs."""


def wilson_interval(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a probability whose estimate is `share` of `n` pairs (Wilson 1927). Ties may make `share` · n fractional.

    The interval stays within [0, 1], and has a width if `share` is 0 or 1. NaN without pairs.
    """
    if n == 0:
        return math.nan, math.nan
    z2 = float(scipy.stats.norm.ppf((1 + level) / 2)) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def meaningfully_better(low: float, high: float) -> bool:
    """Return whether the interval of P(A > B) is above ½, and reaches beyond γ = ¾: the rule of Bouthillier et al. (2021)."""
    return low > 0.5 and high > MEANINGFUL


def pairs_for_rule(gamma: float = MEANINGFUL, alpha: float = 0.05, beta: float = 0.05) -> int:
    """Return the number of pairs that the rule needs, N = (z_{1-α} + z_{1-β})² / (6 (γ - ½)²) (Noether 1987): 29 by default.

    >>> pairs_for_rule()
    29
    """
    z = float(scipy.stats.norm.isf(alpha) + scipy.stats.norm.isf(beta))
    return math.ceil(z**2 / (6 * (gamma - 0.5) ** 2))
