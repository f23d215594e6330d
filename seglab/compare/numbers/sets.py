"""One statement over several data sets: bootstrap intervals stratified by data set (Agarwal et al. 2021).

K data sets have n_k seeds each. The seeds of each data set are resampled on their own. Differences keep the common
seeds of arm and baseline. For a test over K >= 6 data sets, use `sign_flip_p` on the K mean differences: it takes the
data sets as a sample, and the seeds as part of each (Demšar 2006 recommends a test over data sets, one number from
each).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from seglab.compare.numbers.statistics import Floats

DRAWS = 2000
"""Number of bootstrap draws."""


@dataclass(frozen=True)
class Estimate:
    """A number with its percentile bootstrap interval."""

    value: float
    low: float
    high: float


def mean_over_sets(differences: Sequence[Floats], level: float = 0.95) -> Estimate:
    """Return the mean over the data sets of their mean differences; `differences` has (n_k,) of each set."""
    return _estimate(differences, lambda sets: _means(sets).mean(axis=0), level)


def median_over_sets(differences: Sequence[Floats], level: float = 0.95) -> Estimate:
    """Return the median over the data sets of their mean differences; `differences` has (n_k,) of each set."""
    return _estimate(differences, lambda sets: np.median(_means(sets), axis=0), level)


def interquartile_mean(differences: Sequence[Floats], level: float = 0.95) -> Estimate:
    """Return the mean of the middle half of all differences, over data sets and seeds.

    `differences` has (n_k,) values of each data set.

    It is less sensitive to one unusual data set than the mean, and more efficient than the median (Agarwal et al.
    2021).
    """
    return _estimate(differences, lambda sets: np.asarray(scipy.stats.trim_mean(np.concatenate(sets, axis=-1), 0.25, axis=-1)), level)


def probability_of_improvement(scores: Sequence[Floats], baseline: Sequence[Floats], level: float = 0.95) -> Estimate:
    """Return P(X > Y), averaged over the data sets; ties count half.

    X is the score of a run of the arm, and Y of a run of the baseline with any seed.

    For the interval, the seeds of arm and baseline are drawn apart, as in Agarwal et al. (2021). Common draws would
    contain pairs of one seed twice as often as the scores do, which shifts the interval if runs of one seed are alike.
    Drawn apart, the interval is too wide then.

    Args:
        scores: (n_k,) scores of the arm on each data set, larger is better.
        baseline: (n_k,) scores of the baseline under the same seeds.
        level: level of the interval.
    """

    def improvement(drawn: Sequence[Floats]) -> Floats:
        pairs = zip(drawn[: len(scores)], drawn[len(scores) :], strict=True)
        gaps = (ours[..., :, None] - theirs[..., None, :] for ours, theirs in pairs)  # one data set in memory at a time
        return np.asarray(np.mean([np.mean((gap > 0) + 0.5 * (gap == 0), axis=(-2, -1)) for gap in gaps], axis=0))

    return _estimate([*scores, *baseline], improvement, level)


def _means(sets: Sequence[Floats]) -> Floats:
    return np.stack([values.mean(axis=-1) for values in sets])


def _estimate(sets: Sequence[Floats], statistic: Callable[[Sequence[Floats]], Floats], level: float) -> Estimate:
    """Return a statistic of the data sets and its interval.

    Args:
        sets: (n_k,) of each data set, resampled on its own.
        statistic: takes the data sets, each (draws, n_k), and returns one number for each draw.
        level: level of the percentile interval.

    Raises:
        ValueError: there is no data set, or one without seeds.
    """
    if not sets or any(values.shape[-1] == 0 for values in sets):
        raise ValueError(
            f"{len(sets)} data sets with {[values.shape[-1] for values in sets]} seeds: expected at least one set, and a seed in each"
        )
    generator = np.random.default_rng(0)
    drawn = [values[..., generator.integers(0, values.shape[-1], (DRAWS, values.shape[-1]))] for values in sets]
    low, high = np.quantile(statistic(drawn), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(statistic([values[..., None, :] for values in sets])[0]), float(low), float(high))
