"""A schedule is a pure function of progress.

It has no state, so a resumed training follows it without further effort.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from seglab.stage import Progress, Stage

When = int | float
"""Moment or duration: an int is a number of epochs, a float is a fraction of the training. Lightning's
`limit_train_batches` has the same rule.
"""


class FreezeSchedule(ABC):
    """Decides, at every step, the learning-rate multiplier of each stage.

    A stage whose multiplier is 0 is frozen: it has no gradient, no decay and no penalty. Its norm and dropout layers
    are in evaluation mode. Write a schedule as a frozen dataclass with one method.
    """

    @abstractmethod
    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        """Return the factor, 0 or more, on the learning rate that optimizer and scheduler give."""

    def check(self, stages: Sequence[Stage], start: Progress) -> None:  # noqa: B027 - there need not be anything to check
        """Raise a ValueError if this schedule does not suit these `stages` or a training as long as `start` says.

        This method is called before the training. By default nothing is checked.
        """


def in_steps(when: When, progress: Progress) -> int:
    """Return the number of optimizer steps that `when` stands for, rounded to an integer."""
    return when * progress.steps_per_epoch if isinstance(when, int) else round(when * progress.steps)


def check_when(name: str, when: When) -> None:
    """Raise a ValueError unless `when` is 1 epoch or more (int), or a fraction between 0 and 1 (float)."""
    whole = isinstance(when, int) and not isinstance(when, bool)
    if not (when >= 1 if whole else math.isfinite(when) and 0 < when < 1):
        raise ValueError(f"{name}={when}: expected a number of epochs (1, 2, …) or a fraction of the training (between 0.0 and 1.0)")


def at_least_a_step(name: str, when: When, start: Progress) -> None:
    """Raise a ValueError if `when` rounds to 0 optimizer steps of this training, and so would have no effect."""
    if in_steps(when, start) < 1:
        raise ValueError(
            f"{name}: {spoken(when)} is less than an optimizer step, as there are {start.steps} in all: train longer, or give more"
        )


def check_factor(name: str, factor: float) -> None:
    """Raise a ValueError unless `factor` is finite and above 0."""
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"{name}={factor}: expected a finite factor above 0")


def spoken(when: When) -> str:
    """Return `when` in words."""
    return f"{when} epoch{'' if when == 1 else 's'}" if isinstance(when, int) else f"{100 * when:g} % of the training"


def before_end(name: str, what: str, step: int, start: Progress) -> None:
    """Raise a ValueError if `step`, at which `what` would happen, is at or after the end of the training."""
    if step >= start.steps:
        raise ValueError(
            f"{name}: {what} at step {step} (epoch {step / start.steps_per_epoch:g}), and the training ends at step {start.steps} "
            f"(epoch {start.steps / start.steps_per_epoch:g}): train longer, or begin it earlier"
        )
