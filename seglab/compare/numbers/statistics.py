"""Paired statistics as plain functions of arrays. The last axis is the pair (the seed); leading axes are separate problems.

Undefined is NaN, never an exception: an interval needs two pairs, an effect size needs differences that differ.
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy.stats
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXACT_FLIPS = 2**15
"""Sign flips that are enumerated (up to 15 pairs); beyond, as many are drawn."""


def paired_differences(scores: Floats, baseline: Floats) -> Floats:
    """`scores - baseline`, rounded to 12 digits of the largest score.

    So differences that are equal on paper are equal here: 0.3 - 0.2 and 0.2 - 0.1 differ in binary, and an exact test counts ties.
    """
    largest = max(np.abs(scores).max(initial=0.0), np.abs(baseline).max(initial=0.0))
    digits = 12 - math.ceil(math.log10(largest)) if largest > 0 else 12
    return np.asarray(np.round(scores - baseline, digits), dtype=np.float64)


def standard_deviation(values: Floats) -> Floats:
    """(..., n) -> (...), with n - 1 in the denominator; exactly 0 for equal values; NaN below two values."""
    if values.shape[-1] < 2:
        return np.full(values.shape[:-1], np.nan)
    return np.where(np.ptp(values, axis=-1) == 0, 0.0, np.std(values, axis=-1, ddof=1))


def mean(values: Floats) -> Floats:
    """(..., n) -> (...); NaN of nothing, without a warning; exact for equal values."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    return np.where(np.ptp(values, axis=-1) == 0, values[..., 0], np.mean(values, axis=-1))


def t_interval(differences: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Student's interval of the mean difference (Student 1908): (..., n) -> low and high, each (...).

    Not the percentile bootstrap, which covers only 84 to 90 % of the time at 5 to 10 pairs.
    """
    n = differences.shape[-1]
    if n < 2:
        return np.full(differences.shape[:-1], np.nan), np.full(differences.shape[:-1], np.nan)
    half = scipy.stats.t.ppf((1 + level) / 2, n - 1) * standard_deviation(differences) / math.sqrt(n)
    return mean(differences) - half, mean(differences) + half


def sign_flip_p(differences: Floats, generator: np.random.Generator | None = None) -> Floats:
    """Two-sided p of 'arm and baseline are exchangeable within a pair' (Fisher 1935, §21): (..., n) -> (...).

    Exact over all 2^n flips up to 15 pairs, so that the smallest p is 2/2^n; beyond, 2^15 flips from `generator` (default: a
    fixed seed, so that a table read twice shows the same p) with p = (k + 1)/(m + 1) (Phipson & Smyth 2010). NaN without pairs.
    """
    if (n := differences.shape[-1]) < 2:
        return np.full(differences.shape[:-1], 1.0 if n == 1 else np.nan)  # both flips of one pair are equally far from 0
    largest = np.abs(differences).max(axis=-1, keepdims=True)
    test = scipy.stats.permutation_test(
        (differences / np.where(largest == 0, 1.0, largest),),
        _tied_sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=EXACT_FLIPS,
        batch=max(1, 2**21 // differences.size),  # 2^21 float64 are 16 MiB
        axis=-1,
        random_state=np.random.default_rng(0) if generator is None else generator,
    )
    return np.asarray(test.pvalue, dtype=np.float64)


def sign_flip_each(problems: Sequence[Floats], generator: np.random.Generator | None = None) -> Floats:
    """`sign_flip_p` of problems (n_i,) with unequal numbers of pairs: those of one size at once, since the flips are what costs."""
    p = np.full(len(problems), np.nan)
    for n in sorted({len(problem) for problem in problems}):
        places = [place for place, problem in enumerate(problems) if len(problem) == n]
        p[places] = sign_flip_p(np.stack([problems[place] for place in places]), generator)
    return p


def _tied_sum(values: Floats, axis: int) -> Floats:
    """The sum, rounded so that two flips with the same sum on paper tie (values are in [-1, 1])."""
    return np.asarray(np.round(values.sum(axis=axis), 9))


def equivalence_p(differences: Floats, margin: float) -> Floats:
    """Two one-sided t tests (Schuirmann 1987): p of 'the mean difference is at least `margin` away from 0'. (..., n) -> (...).

    Without spread: 0 if the constant difference lies inside the margin, else 1. NaN below two pairs.
    """
    n = differences.shape[-1]
    if n < 2:
        return np.full(differences.shape[:-1], np.nan)
    centre, error = mean(differences), standard_deviation(differences) / math.sqrt(n)
    nearest = (margin - np.abs(centre)) / np.where(error == 0, 1.0, error)
    return np.where(error == 0, np.where(np.abs(centre) < margin, 0.0, 1.0), scipy.stats.t.sf(nearest, n - 1))


def holm(p: Floats) -> Floats:
    """p adjusted for the family in the last axis (Holm 1979). NaN stays NaN and still counts: the family is what was declared."""
    m = p.shape[-1]
    order = np.argsort(p, axis=-1)  # NaN last
    stepped = np.take_along_axis(p, order, axis=-1) * (m - np.arange(m))
    return _restore(np.minimum(np.maximum.accumulate(stepped, axis=-1), 1.0), order)


def benjamini_hochberg(p: Floats) -> Floats:
    """p adjusted for the false discovery rate in the last axis (Benjamini & Hochberg 1995). NaN is no test: it does not count."""
    m = np.sum(~np.isnan(p), axis=-1, keepdims=True)
    order = np.argsort(p, axis=-1)
    stepped = np.take_along_axis(p, order, axis=-1) * m / np.arange(1, p.shape[-1] + 1)
    return _restore(np.minimum(np.fmin.accumulate(stepped[..., ::-1], axis=-1)[..., ::-1], 1.0), order)


def _restore(ordered: Floats, order: NDArray[np.intp]) -> Floats:
    adjusted = np.empty_like(ordered)
    np.put_along_axis(adjusted, order, ordered, axis=-1)
    return adjusted


def effect_size(differences: Floats) -> Floats:
    """d_z = mean / standard deviation of the differences (Cohen 1988, §2.3.5); NaN where they do not differ. (..., n) -> (...)."""
    spread = standard_deviation(differences)
    return np.where(spread == 0, np.nan, mean(differences) / np.where(spread == 0, 1.0, spread))


def superiority(gains: Floats) -> Floats:
    """P(A > B): the share of pairs with a gain, ties counting half (Vargha & Delaney 2000, within pairs). (..., n) -> (...)."""
    return mean((gains > 0) + 0.5 * (gains == 0))


def correlation(scores: Floats, baseline: Floats) -> float:
    """Pearson's ρ over the pairs of two (n,) arrays: what pairing by seed gains. NaN below two pairs, or if either is constant."""
    if len(scores) < 2 or np.ptp(scores) == 0 or np.ptp(baseline) == 0:
        return math.nan
    return float(np.corrcoef(scores, baseline)[0, 1])


def expected_best(scores: Floats) -> Floats:
    """How good the best of k settings is, on average over all choices of k of the n that were tried: (..., n) -> (..., n), k = 1 ... n.

    The expected maximum without replacement, Σᵢ C(i-1, k-1) / C(n, k) · v₍ᵢ₎ over the ordered scores: Dodge et al. (2019), in the
    unbiased form of Tang et al. (2020). A score may be -inf, which is that of no use; then so is the mean as long as it can be the best.
    """
    n = scores.shape[-1]
    chances = np.array([[math.comb(i, k - 1) / math.comb(n, k) for i in range(n)] for k in range(1, n + 1)])  # of being the best of k
    ordered = np.broadcast_to(np.sort(scores, axis=-1)[..., None, :], (*scores.shape, n))
    return np.asarray(np.multiply(chances, ordered, out=np.zeros(ordered.shape), where=chances > 0).sum(axis=-1), dtype=np.float64)


def pairs_needed(alpha: float, contrasts: int = 1) -> int:
    """The fewest pairs with which an exact two-sided p, times the number of contrasts (Holm's first step), can reach `alpha`."""
    return math.ceil(math.log2(2 * contrasts / alpha))
