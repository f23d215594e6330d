"""The answer over several data sets: each arm on each data set, and over all of them."""

from dataclasses import dataclass

import numpy as np

from seglab.compare.criteria import Criteria
from seglab.compare.numbers.answer import Comparison
from seglab.compare.numbers.contrasts import Contrast
from seglab.compare.numbers.sets import Estimate
from seglab.compare.numbers.verdicts import Verdict

UNDEFINED = Estimate(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class DataSet:
    """The comparison of the study on one data set."""

    name: str
    """Name of the data set in tables and pictures: that of the study's folder."""
    comparison: Comparison
    waits: str = ""
    """Reason why the study gives no final numbers yet; empty if all its declared seeds are done."""


@dataclass(frozen=True)
class ArmOnSet:
    """One arm compared with the baseline on one data set."""

    name: str
    """Name of the data set."""
    contrast: Contrast
    improvement: float
    """P(X > Y): a run of the arm beats a run of the baseline, under any seeds. NaN without pairs, and for a metric
    without a direction.
    """


@dataclass(frozen=True)
class ArmOverSets:
    """One arm compared with the baseline over K data sets.

    All estimates are NaN if the arm lacks pairs on a data set.
    """

    arm: str
    sets: tuple[ArmOnSet, ...]
    """The arm on each data set that has results of it."""
    mean: Estimate
    """Mean of the K mean differences, in raw units of the metric. The interval of an estimate is a percentile bootstrap
    over the seeds of each data set; it holds for these data sets. It is NaN if a data set has fewer than 5 pairs.
    """
    median: Estimate
    """Median of the K mean differences."""
    interquartile_mean: Estimate
    """Mean of the middle half of all paired differences."""
    improvement: Estimate
    """P(X > Y), averaged over the data sets (Agarwal et al. 2021); NaN for a metric without a direction."""
    low_new: float
    high_new: float
    """Upper end of the interval of the mean over data sets of this kind, by inversion of the sign-flip test. `low_new`
    is the lower end. Infinite if there are too few data sets for the level.
    """
    p: float
    """Exact sign-flip p of the K mean differences."""
    p_holm: float
    """`p`, adjusted over all declared contrasts."""
    verdict: Verdict
    """Verdict over data sets. There is none of equivalence."""
    reason: str
    """Reason why there is no verdict, or why a difference is inconclusive; else empty."""


@dataclass(frozen=True)
class OverSets:
    """Answer over several data sets."""

    sets: tuple[DataSet, ...]
    arms: tuple[ArmOverSets, ...]
    """Every arm except the baseline, in the order of the first study."""
    tests: int
    """Number of tests that p is adjusted for."""
    notes: tuple[str, ...] = ()
    """One line for each difference between the studies, and for each limit of the answer."""

    @property
    def criteria(self) -> Criteria:
        """Criteria of the first study; metric, baseline and alpha are those of all."""
        return self.sets[0].comparison.criteria

    @property
    def exploratory(self) -> bool:
        """Return whether this differs from the declared comparison of one of the studies."""
        return any(each.comparison.criteria.exploratory for each in self.sets)
