"""The choice of a setting from the scores of tuning runs, and how far it can be trusted.

Larger scores are better; NaN has diverged.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seglab.compare.numbers import statistics
from seglab.compare.numbers.statistics import Floats

FINALISTS = 3
"""Number of settings of each arm that compete in the final round of a tuning.

In simulations of two equal methods that choose among the same 4 settings, a final round of 3 settings and 5 seeds after
5 seeds for all settings calls them different in at most 8 % of all studies; 5 seeds alone in up to 10 %, 2 seeds alone
in up to 16 %.
"""

DRAWS = 2000
"""Number of bootstrap draws."""


@dataclass(frozen=True)
class Candidate:
    """A setting of an arm, and its scores; NaN where the training diverged."""

    setting: str
    scores: tuple[float, ...]
    """Score under each tuning seed."""
    final: tuple[float, ...] = ()
    """Score under each seed of the final round; empty if the setting is not in it."""

    @property
    def all(self) -> tuple[float, ...]:
        """Scores of both rounds."""
        return self.scores + self.final

    @property
    def first(self) -> float:
        """Mean of the scores of the first round; -inf if the setting diverged in it."""
        return _mean(self.scores)

    @property
    def mean(self) -> float:
        """Mean of all scores; -inf if the setting diverged under any seed."""
        return _mean(self.all)

    @property
    def sd(self) -> float:
        """Standard deviation of all scores; NaN for fewer than two."""
        return float(statistics.standard_deviation(np.array(self.all)))


@dataclass(frozen=True)
class Choice:
    """The candidates of an arm whose tuning is complete."""

    arm: str
    candidates: tuple[Candidate, ...]

    @property
    def ranked(self) -> list[Candidate]:
        """Candidates that have not diverged, the chosen one first.

        Those of the final round come before all others. Within a round the order is that of the means, and the first of
        equals is first.
        """
        finite = [candidate for candidate in self.candidates if candidate.mean > -math.inf]
        return sorted(finite, key=lambda candidate: (not candidate.final, -candidate.mean))

    @property
    def best(self) -> Candidate | None:
        """The chosen candidate; None if every candidate has diverged."""
        return next(iter(self.ranked), None)

    @property
    def rivals(self) -> list[Candidate]:
        """Candidates of the last round, the chosen one first: those of the final round, if there was one."""
        return [candidate for candidate in self.ranked if bool(candidate.final) == bool(self.ranked[0].final)]

    @property
    def expected_best(self) -> list[float]:
        """Expected first-round score of the best of k = 1, 2, ... random candidates; -inf if all may have diverged."""
        return [float(value) for value in statistics.expected_best(np.array([candidate.first for candidate in self.candidates]))]

    @property
    def stability(self) -> float:
        """Share of bootstrap draws over the seeds in which the chosen setting wins again.

        NaN for fewer than two seeds or settings.
        """
        rivals = self.rivals
        return stability(np.array([candidate.all for candidate in rivals])) if len(rivals) > 1 else math.nan


def finalists(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Return the settings of the final round: the first round's best, at most `FINALISTS`, in `candidates` order.

    Without two settings that have not diverged there is nothing to decide, and the result is empty.
    """
    finite = [candidate for candidate in candidates if candidate.first > -math.inf]
    best = sorted(finite, key=lambda candidate: -candidate.first)[:FINALISTS]
    return tuple(candidate.setting for candidate in candidates if candidate in best) if len(best) > 1 else ()


def stability(scores: Floats) -> float:
    """Return the share of bootstrap draws in which the first setting of `scores` has the largest mean again.

    Seeds are drawn with replacement, the same for every setting, because settings are compared under equal seeds. Draws
    in which several settings have the largest mean are shared among them.

    Args:
        scores: (K,m) scores of K settings under m seeds; the first row is that of the chosen setting.

    Returns:
        A share from 0 to 1; NaN if m < 2. The generator is seeded, so that equal scores give an equal share.
    """
    m = scores.shape[-1]
    if m < 2:
        return math.nan
    weights = np.random.default_rng(0).multinomial(m, np.full(m, 1 / m), size=DRAWS)  # (B,m)
    means = weights @ scores.T  # (B,K)
    wins = means >= means.max(axis=1, keepdims=True) - 1e-12
    return float((wins[:, 0] / wins.sum(axis=1)).mean())


def _mean(scores: Sequence[float]) -> float:
    return -math.inf if any(map(math.isnan, scores)) else float(statistics.mean(np.array(scores)))
