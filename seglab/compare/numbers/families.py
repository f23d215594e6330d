"""Adjust p values over a family of tests. The last axis is the test; a p of NaN is an undefined test."""

import numpy as np
from numpy.typing import NDArray

from seglab.compare.numbers.statistics import Floats


def holm(p: Floats, declared: int | None = None) -> Floats:
    """Return p adjusted for the family-wise error rate over the last axis (Holm 1979): (..., k) -> (..., k).

    Args:
        p: (..., k) p values. NaN stays NaN, and counts like p = 1.
        declared: number m >= k of tests that were declared; k by default. A declared test without results counts like p = 1.
    """
    m = _family(p.shape[-1], declared)
    order = np.argsort(p, axis=-1)  # NaN last
    stepped = np.take_along_axis(p, order, axis=-1) * (m - np.arange(p.shape[-1]))
    return _restore(np.minimum(np.maximum.accumulate(stepped, axis=-1), 1.0), order)


def benjamini_hochberg(p: Floats) -> Floats:
    """Return p adjusted for the false discovery rate over the last axis (Benjamini & Hochberg 1995). NaN is no test, and does not count."""
    m = np.sum(~np.isnan(p), axis=-1, keepdims=True)
    order = np.argsort(p, axis=-1)
    stepped = np.take_along_axis(p, order, axis=-1) * m / np.arange(1, p.shape[-1] + 1)
    return _restore(np.minimum(np.fmin.accumulate(stepped[..., ::-1], axis=-1)[..., ::-1], 1.0), order)


def shaffer(p_difference: Floats, p_equivalence: Floats, declared: int | None = None) -> tuple[Floats, Floats]:
    """Return both p of each contrast, adjusted so that one error rate holds for all differences and equivalences together (Shaffer 1986).

    Contrast j has two null hypotheses: δ_j = 0, and |δ_j| >= margin. They exclude each other, so of 2m null hypotheses at most m are
    true. The p are taken in ascending order. Each is multiplied by t, the number of contrasts that can still have a true null hypothesis:
    those with a null hypothesis that is not rejected before.

    Args:
        p_difference: (k,) p of δ_j = 0. NaN stays NaN, and counts like p = 1.
        p_equivalence: (k,) p of |δ_j| >= margin. NaN stays NaN, and does not count: without a margin there is no such hypothesis, and
            the result is Holm's.
        declared: number m >= k of contrasts that were declared; k by default. A declared contrast without results is never rejected.
    """
    k = len(p_difference)
    p = np.concatenate([p_difference, p_equivalence])
    open_hypotheses = 1 + ~np.isnan(p_equivalence)  # (k,) of each contrast
    adjusted, last = np.full(2 * k, np.nan), 0.0
    for place in np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]:
        possible = np.count_nonzero(open_hypotheses) + _family(k, declared) - k
        adjusted[place] = last = max(last, min(1.0, float(p[place]) * possible))
        open_hypotheses[place % k] -= 1
    return adjusted[:k], adjusted[k:]


def _family(k: int, declared: int | None) -> int:
    if declared is not None and declared < k:
        raise ValueError(f"{k} tests have a p, but only {declared} were declared. Declare every test of the family")
    return k if declared is None else declared


def _restore(ordered: Floats, order: NDArray[np.intp]) -> Floats:
    adjusted = np.empty_like(ordered)
    np.put_along_axis(adjusted, order, ordered, axis=-1)
    return adjusted
