"""Protocols of the module, the loss and the logger that the callbacks use."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from torch import nn

from seglab.callbacks.sheet import Classes, PredictedImage
from seglab.freezing import FreezeSchedule
from seglab.networks import Stages
from seglab.regularizers import Regularizer, Weight
from seglab.stage import Progress


class Trainee(Protocol):
    """A module that trains a network with a freezing schedule and a penalty."""

    network: nn.Module
    loss: nn.Module
    stages: Stages
    regularizer: Regularizer | None
    freeze_schedule: FreezeSchedule | None
    batch_norm: Literal["train", "frozen"]
    allow_double_decay: bool
    frozen_by_schedule: set[str]

    def weights(self) -> dict[str, Weight]:
        """Return all parameters that can train, by name."""


@runtime_checkable
class FollowsProgress(Protocol):
    """A part of a loss that changes during training."""

    def follow(self, progress: Progress) -> None:
        """Set the state for the optimizer step that comes next."""


@runtime_checkable
class ResumableLog(Protocol):
    """A logger that continues where a checkpoint was saved."""

    def rows(self) -> str | None:
        """Return everything logged so far as the text of a CSV file; None if this logger keeps no such text."""

    def restore(self, rows: str) -> None:
        """Continue behind these rows, the result of some logger's `rows` at the time of the checkpoint."""


@runtime_checkable
class PictureLog(Protocol):
    """A logger that takes pictures."""

    def log_pictures(self, place: str, pictures: Sequence[PredictedImage], classes: Classes) -> None:
        """Log pictures of a `place`: of the test, or of a validation, whose scores are logged next."""
