"""A schedule is a pure function of progress: without state, so that a resumed training follows it by itself."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from seglab.stage import Progress, Stage

When = int | float
"""A moment or a duration: an int counts epochs, a float is a fraction of the training (as in Lightning's `limit_train_batches`)."""


class FreezeSchedule(ABC):
    """Decides, at every step, the learning-rate multiplier of each stage.

    A stage whose multiplier is 0 is frozen: no gradient, no decay, no penalty, and its norm and dropout layers in evaluation
    mode. Write a schedule as a frozen dataclass with one method.
    """

    @abstractmethod
    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        """The factor, 0 or more, on the learning rate that optimizer and scheduler give."""

    def check(self, stages: Sequence[Stage], start: Progress) -> None:  # noqa: B027 - there need not be anything to check
        """A ValueError if this cannot be meant for a network of these `stages` and a training as long as `start` says.

        It is called before the training; by default there is nothing to check.
        """


def in_steps(when: When, progress: Progress) -> int:
    """Optimizer steps that `when` stands for, rounded to a whole one."""
    return when * progress.steps_per_epoch if isinstance(when, int) else round(when * progress.steps)


def check_when(name: str, when: When) -> None:
    """A ValueError unless `when` is 1 epoch or more, or a fraction between 0 and 1."""
    whole = isinstance(when, int) and not isinstance(when, bool)
    if not (when >= 1 if whole else math.isfinite(when) and 0 < when < 1):
        raise ValueError(f"{name}={when}: expected a number of epochs (1, 2, …) or a fraction of the training (between 0.0 and 1.0)")


def at_least_a_step(name: str, when: When, start: Progress) -> None:
    """A ValueError if `when` is less than half an optimizer step of this training: what it stands for would not happen."""
    if in_steps(when, start) < 1:
        raise ValueError(
            f"{name}: {spoken(when)} is less than an optimizer step, as there are {start.steps} in all: train longer, or give more"
        )


def check_factor(name: str, factor: float) -> None:
    """A ValueError unless `factor` is finite and above 0."""
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"{name}={factor}: expected a finite factor above 0")


def spoken(when: When) -> str:
    """`when` in words."""
    return f"{when} epoch{'' if when == 1 else 's'}" if isinstance(when, int) else f"{100 * when:g} % of the training"


def before_end(name: str, what: str, step: int, start: Progress) -> None:
    """A ValueError if `what` would happen at or after the end of the training."""
    if step >= start.steps:
        raise ValueError(
            f"{name}: {what} at step {step} (epoch {step / start.steps_per_epoch:g}), and the training ends at step {start.steps} "
            f"(epoch {start.steps / start.steps_per_epoch:g}): train longer, or begin it earlier"
        )
