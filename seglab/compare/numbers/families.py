"""Adjust p values over a family of tests. The last axis is the test; a p of NaN is an undefined test."""

import numpy as np
from numpy.typing import NDArray

from seglab.compare.numbers.statistics import Floats


def holm(p: Floats, declared: int | None = None) -> Floats:
    """Return p adjusted for the family-wise error rate over the last axis (Holm 1979): (..., k) -> (..., k).

    Args:
        p: (..., k) p values. NaN stays NaN, and counts like p = 1.
        declared: number m >= k of tests that were declared; k by default. A declared test without results counts like
            p = 1.
    """
    m = _family(p.shape[-1], declared)
    order = np.argsort(p, axis=-1)  # NaN last
    stepped = np.take_along_axis(p, order, axis=-1) * (m - np.arange(p.shape[-1]))
    return _restore(np.minimum(np.maximum.accumulate(stepped, axis=-1), 1.0), order)


def benjamini_hochberg(p: Floats) -> Floats:
    """Return p adjusted for the false discovery rate over the last axis (Benjamini & Hochberg 1995).

    NaN is no test, and does not count.
    """
    m = np.sum(~np.isnan(p), axis=-1, keepdims=True)
    order = np.argsort(p, axis=-1)
    stepped = np.take_along_axis(p, order, axis=-1) * m / np.arange(1, p.shape[-1] + 1)
    return _restore(np.minimum(np.fmin.accumulate(stepped[..., ::-1], axis=-1)[..., ::-1], 1.0), order)


def _family(k: int, declared: int | None) -> int:
    if declared is not None and declared < k:
        raise ValueError(f"{k} tests have a p, but only {declared} were declared. Declare every test of the family")
    return k if declared is None else declared


def _restore(ordered: Floats, order: NDArray[np.intp]) -> Floats:
    adjusted = np.empty_like(ordered)
    np.put_along_axis(adjusted, order, ordered, axis=-1)
    return adjusted
