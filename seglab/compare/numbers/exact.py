"""Exact tests and intervals by flips of signs.

The last axis is the pair (the seed); leading axes are separate problems.

Notation: d is (n,) differences, and S the subset of the pairs whose signs a flip changes. The flip makes the sum Σd - 2
Σ_S d, which is at least Σd exactly if Σ_S d <= 0. The test counts sums of subsets, and the interval orders means of
subsets, so both always agree.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from seglab.compare.numbers.statistics import Floats

MOST_EXACT = 20
"""Largest number of pairs for which all 2^n flips are enumerated."""
DRAWN_FLIPS = 2**16 - 1
"""Number m of flips that are drawn if there are more pairs: p is then a multiple of 1/(m + 1) = 2^-16."""
_WHOLE = 12
"""Largest number of pairs for which the test forms all sums at once. With more pairs it forms those of either half, and
counts.
"""
_TIE = 5e-10
"""Sums this close to 0, in units of the largest |d|, count as 0: sums that are equal on paper differ in binary."""
_BATCH = 2**20
"""Number of subset sums held at once: 8 MiB of float64."""


def sign_flip_p(differences: Floats, generator: np.random.Generator | None = None) -> Floats:
    """Return two-sided p of 'arm and baseline are exchangeable within a pair' (Fisher 1935, §21): (..., n) -> (...).

    Up to 20 pairs the p is exact over all 2^n flips, and the smallest p is 2/2^n. With more pairs, m = 2^16 - 1 flips
    are drawn. If k of them have a sum at least as far from 0 as the observed sum, p = (k + 1)/(m + 1) (Phipson & Smyth
    2010). The default generator has a fixed seed, so that a table shows the same p each time. NaN without pairs, and
    where a difference is not finite.
    """
    *outer, n = differences.shape
    if n == 0:
        return np.full(outer, np.nan)
    problems, undefined = _finite(differences.reshape(-1, n))
    if _WHOLE < n <= MOST_EXACT:
        p = np.array([_p_by_halves(values) for values in problems / _scale(problems)], dtype=np.float64)
    else:
        p = np.concatenate([*(_p(sums) for sums, _ in _subset_sums(problems, generator)), np.empty(0)])
    return np.where(undefined, np.nan, p).reshape(outer)


def sign_flip_each(problems: Sequence[Floats], generator: np.random.Generator | None = None) -> Floats:
    """Return `sign_flip_p` of problems (n_i,) with unequal numbers of pairs.

    Problems of one size share the flips, to save time.
    """
    p = np.full(len(problems), np.nan)
    for n in sorted({len(problem) for problem in problems}):
        places = [place for place, problem in enumerate(problems) if len(problem) == n]
        p[places] = sign_flip_p(np.stack([problems[place] for place in places]), generator)
    return p


def sign_flip_interval(differences: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return the interval of all θ for which the sign-flip test of `differences - θ` has p > 1 - level.

    The shapes are (..., n) -> low and high, each (...).

    Take the means of the 2^n - 1 non-empty subsets of the differences. The ends of the interval are the c-th smallest
    and the c-th largest of these means, with c = floor(α 2^n / 2) and α = 1 - level (Hartigan 1969). With more than 20
    pairs the subsets are the m drawn flips of `sign_flip_p` and their complements, and c = floor(α (m + 1)). The
    interval excludes 0 (low > 0 or high < 0) exactly if `sign_flip_p` is at most α.

    The interval covers the centre of symmetric differences. It is -inf to inf if no p can reach α: with fewer than 6
    pairs at 0.95. NaN without pairs, and where a difference is not finite.
    """
    *outer, n = differences.shape
    if n == 0:
        return np.full(outer, np.nan), np.full(outer, np.nan)
    problems, undefined = _finite(differences.reshape(-1, n))
    found = [_ends(sums, sizes, 1 - level) for sums, sizes in _subset_sums(problems)]
    ends = np.concatenate([*found, np.empty((2, 0))], axis=1) * _scale(problems)[:, 0]
    low, high = np.where(undefined, np.nan, ends)
    return low.reshape(outer), high.reshape(outer)


def _finite(problems: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the problems with 0 for each difference that is not finite, and whether a problem has one.

    The shapes are (k, n) -> (k, n) and (k,).
    """
    finite = np.isfinite(problems)
    return np.where(finite, problems, 0.0), np.asarray(~finite.all(axis=1))


def _scale(problems: Floats) -> Floats:
    """Return the largest |d| of each problem, 1 if all are 0: (k, n) -> (k, 1)."""
    largest = np.abs(problems).max(axis=1, keepdims=True)
    return np.where(largest == 0, 1.0, largest)


def _subset_sums(problems: Floats, generator: np.random.Generator | None = None) -> Iterator[tuple[Floats, Floats]]:
    """Yield the (b, 2m + 1) subset sums of each problem, batch by batch, and the (2m + 1,) sizes of the subsets.

    The sums are in units of the largest |d| of the problem.

    The subsets are m subsets, their complements, and the full set. Up to 20 pairs these are all non-empty subsets:
    2m + 1 = 2^n - 1.
    """
    n = problems.shape[1]
    drawn = None
    if n > MOST_EXACT:
        drawn = _usual_flips(n) if generator is None else _flips(n, generator)
    sizes = _sums(np.ones((1, n)), drawn)[0]
    scaled, step = problems / _scale(problems), max(1, _BATCH // len(sizes))
    for start in range(0, len(problems), step):
        yield _sums(scaled[start : start + step], drawn), sizes


def _flips(n: int, generator: np.random.Generator) -> NDArray[np.int8]:
    """Return (n, m) flags of m drawn subsets."""
    return generator.integers(0, 2, (n, DRAWN_FLIPS), dtype=np.int8)


@lru_cache(maxsize=2)
def _usual_flips(n: int) -> NDArray[np.int8]:
    return _flips(n, np.random.default_rng(0))


def _sums(batch: Floats, drawn: NDArray[np.int8] | None) -> Floats:
    """Return (b, 2m + 1) sums over subsets of (b, n) values.

    The first m subsets are all that lack the first value, or the (n, m) flags `drawn`. Their complements and the full
    set follow.
    """
    if drawn is None:
        sums = _all_sums(batch[:, 1:])[:, 1:]  # without the empty subset
    else:
        sums = np.zeros((len(batch), drawn.shape[1]))
        for values, chosen in zip(batch.T, drawn, strict=True):
            sums += values[:, None] * chosen
    total = batch.sum(axis=1, keepdims=True)
    return np.concatenate([sums, total - sums, total], axis=1)


def _all_sums(batch: Floats) -> Floats:
    """Return the sums over all subsets: (b, n) -> (b, 2^n). The first is the sum of the empty subset."""
    sums = np.zeros((len(batch), 1))
    for values in batch.T:
        sums = np.concatenate([sums, sums + values[:, None]], axis=1)
    return sums


def _p(sums: Floats) -> Floats:
    """Return (b,) p from (b, 2m + 1) subset sums. The full set counts only if Σd = 0, where p = 1 in any case."""
    k = np.minimum(np.count_nonzero(sums <= _TIE, axis=1), np.count_nonzero(sums >= -_TIE, axis=1))
    return np.asarray(np.minimum((k + 1) / ((sums.shape[1] + 1) / 2), 1.0), dtype=np.float64)


def _p_by_halves(values: Floats) -> float:
    """Return p from (n,) scaled differences.

    One search joins a subset of the first half with all subsets of the second half.
    """
    first, second = (_all_sums(half[None])[0] for half in np.array_split(values, 2))
    second.sort()
    below = int(np.searchsorted(second, _TIE - first, side="right").sum())
    above = len(first) * len(second) - int(np.searchsorted(second, -_TIE - first, side="left").sum())
    return min(1.0, min(below, above) / 2.0 ** (len(values) - 1))  # with the empty subset, which always counts: it is the observed sum


def _ends(sums: Floats, sizes: Floats, alpha: float) -> Floats:
    """Return (2, b): the c-th smallest and the c-th largest mean of the subsets.

    An empty drawn subset is beyond both ends, and counts there.
    """
    filled = sizes > 0
    c = int(alpha * (len(sizes) + 1) / 2) - np.count_nonzero(~filled)
    if c <= 0:
        return np.stack([np.full(len(sums), -np.inf), np.full(len(sums), np.inf)])
    kept = sums if filled.all() else sums[:, filled]
    means = np.where(np.abs(kept) <= _TIE, 0.0, kept) / sizes[filled]
    places = [c - 1, means.shape[1] - c]
    return np.asarray(np.partition(means, places, axis=1)[:, places].T, dtype=np.float64)
