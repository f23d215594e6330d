"""The answer of a study: scores of each arm, and contrasts with the baseline."""

from collections.abc import Mapping
from dataclasses import dataclass

from seglab.compare.criteria import Criteria
from seglab.compare.numbers.contrasts import Contrast


@dataclass(frozen=True)
class Spread:
    """Mean and spread of one number over the seeds of an arm, in raw units of the metric. NaN if `n` is too small."""

    n: int
    mean: float
    sd: float
    min: float
    max: float


@dataclass(frozen=True)
class ArmSummary:
    """Scores of one arm."""

    arm: str
    scores: Mapping[int, float]
    """Score by seed; finite scores only."""
    score: Spread
    secondary: Mapping[str, Spread]
    """Spread of every other number of the arm's runs, by metric (`val/dice`, `cost/seconds`, ...)."""
    diverged: tuple[int, ...] = ()
    """Seeds whose run has diverged: they have no score."""

    @property
    def runs(self) -> int:
        """Number of runs that have a score or have diverged."""
        return len(self.scores) + len(self.diverged)


@dataclass(frozen=True)
class Comparison:
    """Answer of a study."""

    study: str
    criteria: Criteria
    arms: tuple[ArmSummary, ...]
    """Summaries of all arms with results: the baseline first, then the other arms in the order of the results."""
    contrasts: tuple[Contrast, ...]
    """Contrast of each arm except the baseline, in the order of `arms`."""
    seeds: tuple[int, ...]
    """Seeds that are compared, with or without a run: those of the last look. Results of other seeds are in no number
    of the tables.
    """
    tests: int
    """Number of tests that p is adjusted for: the declared arms except the baseline, with or without results."""
    notes: tuple[str, ...]
    """One line for each item that was left out, and for each limit of the answer."""
