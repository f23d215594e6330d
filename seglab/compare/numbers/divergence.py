"""Runs that diverged have no score. They are counted, and imputed by the worst score."""

import numpy as np
import scipy.stats

from seglab.compare.numbers.statistics import Floats, paired_differences


def mcnemar_p(only_arm: int, only_baseline: int) -> float:
    """Return the exact two-sided p of 'arm and baseline diverge equally often' (McNemar 1947, in the binomial form).

    Args:
        only_arm: number of seeds with which only the arm diverged.
        only_baseline: number of seeds with which only the baseline diverged. Seeds on which both agree say nothing about the difference.
    """
    discordant = only_arm + only_baseline
    return min(1.0, 2 * float(scipy.stats.binom.cdf(min(only_arm, only_baseline), discordant, 0.5)))


def worst_case_differences(scores: Floats, baseline: Floats, worst: float) -> Floats:
    """Return `scores - baseline` with `worst` in place of the score of a diverged run: (n,) and (n,) -> (n,).

    If both runs of a pair diverged, their difference is 0. A claim that also holds for these differences does not depend on the loss of
    the diverged runs.

    Args:
        scores: (n,) scores of the arm, NaN where its run diverged.
        baseline: (n,) scores of the baseline under the same seeds, NaN where its run diverged.
        worst: smallest finite score of the whole study; the largest, if smaller is better.
    """
    return paired_differences(np.where(np.isnan(scores), worst, scores), np.where(np.isnan(baseline), worst, baseline))
