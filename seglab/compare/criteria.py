"""Criteria of a comparison: baseline, metric, significance level and margin."""

import math
from dataclasses import dataclass

from seglab.compare.declared import shown
from seglab.compare.metric import Metric
from seglab.compare.splits import DataSplits
from seglab.records import Analysis


@dataclass(frozen=True)
class Criteria:
    """Metric and baseline of a comparison, and the limits from which a verdict follows.

    Raises:
        ValueError: `alpha` is not between 0 and 0.5, or `margin` is not a number above 0.
    """

    metric: Metric
    baseline: str
    """Name of the arm that all others are compared with."""
    alpha: float = 0.05
    """Largest adjusted p of a verdict, between 0 and 0.5."""
    margin: float | None = None
    """Largest difference that does not matter, in raw units of the metric (0.005 is 0.5 points of mIoU). None takes the
    metric's own margin. A metric without a margin, such as a loss or a cost, has no verdict of equivalence.
    """

    declared: Analysis | None = None
    """Declared analysis of the study; None if it is not known. Its arms are the family of tests, and its seeds those
    that verdicts rest on.
    """

    splits: DataSplits | None = None
    """Data splits over the seeds; None if all seeds share one split. They are a fact of the study, and no choice."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise ValueError(f"alpha {self.alpha}: expected a number above 0 and below 0.5, such as 0.05")
        if self.margin is None:
            object.__setattr__(self, "margin", self.metric.margin)
        elif not 0 < self.margin < math.inf:
            raise ValueError(
                f"margin {self.margin}: expected a number above 0, in raw units of {self.metric}; 0.005 is 0.5 points of a score"
            )

    @property
    def deviations(self) -> tuple[str, ...]:
        """Return what differs from the declared analysis, such as `metric val/loss instead of test/miou`.

        Nothing if it is not known.
        """
        if self.declared is None:
            return ()
        declared, metric = self.declared, str(self.metric)
        own_margin = self.metric.margin if metric != declared.metric else declared.margin
        pairs = (
            ("metric", metric, declared.metric),
            ("baseline", self.baseline, declared.baseline),
            ("margin", self.margin, own_margin),
            ("alpha", self.alpha, declared.alpha),
        )
        return tuple(f"{name} {shown(mine)} instead of {shown(theirs)}" for name, mine, theirs in pairs if mine != theirs)

    @property
    def exploratory(self) -> bool:
        """Return whether this is not the declared comparison of the study."""
        return bool(self.deviations)

    @property
    def judges(self) -> bool:
        """Return whether verdicts are given.

        A cost is judged only if it is the declared metric: its runs share a machine with others.
        """
        return self.metric.split != "cost" or self.declared is None or self.declared.metric == str(self.metric)

    @property
    def always_valid(self) -> bool:
        """Return whether the study declares tests that hold after any number of seeds, and has a margin for them.

        The margin scales these tests.
        """
        return self.declared is not None and self.declared.always_valid and self.margin is not None

    @property
    def test_share(self) -> float | None:
        """Ratio of scored to training images, which corrects a test over data splits; None without data splits."""
        return None if self.splits is None else self.splits.share(self.metric.split)

    @property
    def tunings(self) -> int:
        """Number of independent tunings of each arm. With more than one, they are the pairs of all tests."""
        return 1 if self.declared is None else self.declared.tunings

    @property
    def level(self) -> str:
        """Level of the intervals, such as `95 %`."""
        return f"{100 * (1 - self.alpha):g} %"

    @property
    def within(self) -> str | None:
        """The margin with its unit, such as `±0.5 points`; None if there is no margin."""
        return None if self.margin is None else self.metric.unit.within(self.margin)
