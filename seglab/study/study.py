"""The question: arms × seeds on one data set, one baseline."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from seglab.data import SegmentationDataModule
from seglab.module import SegmentationModule
from seglab.run import Run, check_name

Arm = Callable[[], SegmentationModule]
"""Builds an arm's module. A factory, because nothing may be built before the seed is set."""

Precision = Literal["32-true", "16-mixed", "bf16-mixed", "64-true"]


@dataclass(frozen=True)
class Study:
    """One question, answered by training every arm under every seed with the same data, batches and number of steps.

    A seed fixes initialisation, order and augmentation, the same for every arm: the runs of a seed are a pair to compare.
    """

    name: str
    data: SegmentationDataModule
    epochs: int
    seeds: Sequence[int]
    baseline: str
    """The arm that all others are compared with."""
    arms: Mapping[str, Arm]
    metric: str = "test/miou"
    precision: Precision = "32-true"
    accumulate: int = 1
    """Batches per optimizer step."""
    gradient_clip: float | None = None
    """Largest norm of the gradient, penalty included; None does not clip."""

    def __post_init__(self) -> None:
        check_name("study", self.name)
        for arm in self.arms:
            check_name("arm", arm)
        self._check_arm(self.baseline, "baseline")
        if not self.seeds:
            raise ValueError("there are no seeds: --seeds must be 1 or more")
        if len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds {list(self.seeds)}: they must be all different, 0 or more")
        for field, value in (("epochs", self.epochs), ("accumulate", self.accumulate)):
            if value < 1:
                raise ValueError(f"{field} {value}: must be 1 or more")
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise ValueError(f"gradient_clip {self.gradient_clip}: must be above 0, or none at all")

    def runs(self, arm: str | None = None, seed: int | None = None) -> list[Run]:
        """All runs, or those of one arm or one seed; seed by seed, so that what is there early is already paired."""
        if arm is not None:
            self._check_arm(arm, "arm")
        arms = list(self.arms) if arm is None else [arm]
        return [Run(self.name, this, number) for number in (self.seeds if seed is None else [seed]) for this in arms]

    def _check_arm(self, arm: str, what: str) -> None:
        if arm in self.arms:
            return
        close = difflib.get_close_matches(arm, self.arms, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"unknown {what} {arm!r}{hint}; the arms of {self.name!r} are {', '.join(self.arms)}")
