"""Compare how often arms diverge."""

import scipy.stats


def mcnemar_p(only_arm: int, only_baseline: int) -> float:
    """Return the exact two-sided p of 'arm and baseline diverge equally often' (McNemar 1947, in the binomial form).

    Args:
        only_arm: number of seeds with which only the arm diverged.
        only_baseline: number of seeds with which only the baseline diverged. Seeds on which both agree say nothing
            about the difference.
    """
    discordant = only_arm + only_baseline
    return min(1.0, 2 * float(scipy.stats.binom.cdf(min(only_arm, only_baseline), discordant, 0.5)))
