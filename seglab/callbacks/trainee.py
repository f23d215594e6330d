"""What callbacks need to know of a module."""

from typing import Literal, Protocol, runtime_checkable

from torch import nn

from seglab.freezing import FreezeSchedule
from seglab.networks import Stages
from seglab.regularizers import Regularizer, Weight
from seglab.stage import Progress


class Trainee(Protocol):
    """A module that trains a network stage by stage, beside a penalty."""

    network: nn.Module
    loss: nn.Module
    stages: Stages
    regularizer: Regularizer | None
    freeze_schedule: FreezeSchedule | None
    batch_norm: Literal["train", "frozen"]
    allow_double_decay: bool
    frozen_by_schedule: set[str]

    def weights(self) -> dict[str, Weight]:
        """All parameters that can train."""


@runtime_checkable
class FollowsProgress(Protocol):
    """A part of a loss that changes in the course of a training."""

    def follow(self, progress: Progress) -> None:
        """Be what it is at the step that is about to happen."""
