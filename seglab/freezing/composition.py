"""Schedules composed of other schedules."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from seglab.freezing.schedule import FreezeSchedule, When, check_when, in_steps, spoken
from seglab.given import check_kind
from seglab.stage import Progress, Stage


@dataclass(frozen=True)
class Product(FreezeSchedule):
    """Several schedules at once: their factors multiply, so a stage is frozen if one of them freezes it.

    `Product([GradualUnfreeze(0.1), LayerwiseDecay(0.65)])` is the pair of ULMFiT.
    """

    schedules: Sequence[FreezeSchedule]

    def __post_init__(self) -> None:
        if isinstance(self.schedules, FreezeSchedule) or not self.schedules:
            raise ValueError("Product: give one schedule or more, in a list")
        for place, schedule in enumerate(self.schedules):
            check_kind(f"Product: schedules[{place}]", schedule, FreezeSchedule)

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return prod(schedule.lr_scale(stage, progress) for schedule in self.schedules)

    def check(self, stages: Sequence[Stage], start: Progress) -> None:
        for schedule in self.schedules:
            schedule.check(stages, start)


@dataclass(frozen=True)
class WarmUp(FreezeSchedule):
    """Linear warm-up of each stage that `schedule` unfreezes during the training.

    Its learning rate is that of `schedule` after `over`.

    The optimizer has no statistics yet of a stage that it has not trained, and Adam's first steps are as long as its
    learning rate. Stages that train from the first step on have no warm-up here: this is left to the optimizer's
    scheduler.
    """

    schedule: FreezeSchedule
    over: When = 0.02

    def __post_init__(self) -> None:
        check_kind("WarmUp: schedule", self.schedule, FreezeSchedule)
        check_when("WarmUp: over", self.over)

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        scale = self.schedule.lr_scale(stage, progress)
        steps = max(1, in_steps(self.over, progress))
        if scale == 0:
            return 0.0
        return scale * min(1.0, (progress.step - self._unfrozen(stage, progress, steps)) / steps)

    def check(self, stages: Sequence[Stage], start: Progress) -> None:
        self.schedule.check(stages, start)
        if in_steps(self.over, start) >= start.steps:
            raise ValueError(f"{self!r}: a warm-up of {spoken(self.over)} is not over before the training is")

    def _unfrozen(self, stage: Stage, progress: Progress, steps: int) -> int:
        """Return the last step at which the stage was frozen, by bisection among the last `steps` steps.

        If the stage already trained `steps` steps ago, it is assumed to have trained since, and the step at that time
        is returned.
        """
        frozen, trains = max(0, progress.step - steps), progress.step
        if self.schedule.lr_scale(stage, progress.at(frozen)) > 0:
            return progress.step - steps
        while trains - frozen > 1:
            middle = (frozen + trains) // 2
            if self.schedule.lr_scale(stage, progress.at(middle)) > 0:
                trains = middle
            else:
                frozen = middle
        return frozen
