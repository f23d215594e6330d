"""Shaffer's procedure, compared with two families of Holm in docs/science/statistics.md; `compare` does not use it."""

import numpy as np

from seglab.compare.numbers.statistics import Floats


def shaffer(p_difference: Floats, p_equivalence: Floats, declared: int | None = None) -> tuple[Floats, Floats]:
    """Return both p values of each contrast, adjusted for all differences and equivalences together (Shaffer 1986).

    One error rate holds for all of these hypotheses.

    Contrast j has two null hypotheses: δ_j = 0, and |δ_j| >= margin. They exclude each other, so of 2m null hypotheses
    at most m are true. The p are taken in ascending order. Each is multiplied by t, the number of contrasts that can
    still have a true null hypothesis: those with a null hypothesis that is not rejected before.

    Args:
        p_difference: (k,) p of δ_j = 0. NaN stays NaN, and counts like p = 1.
        p_equivalence: (k,) p of |δ_j| >= margin. NaN stays NaN, and does not count: without a margin there is no such
            hypothesis, and the result is Holm's.
        declared: number m >= k of contrasts that were declared; k by default. A declared contrast without results is
            never rejected.
    """
    k = len(p_difference)
    p = np.concatenate([p_difference, p_equivalence])
    open_hypotheses = 1 + ~np.isnan(p_equivalence)  # (k,) of each contrast
    adjusted, last = np.full(2 * k, np.nan), 0.0
    for place in np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]:
        possible = np.count_nonzero(open_hypotheses) + (k if declared is None else declared) - k
        adjusted[place] = last = max(last, min(1.0, float(p[place]) * possible))
        open_hypotheses[place % k] -= 1
    return adjusted[:k], adjusted[k:]
