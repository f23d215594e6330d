"""Schedules as pure functions of progress: without state, so that a resumed training follows them by itself."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from seglab.stage import Progress, Stage


class FreezeSchedule(ABC):
    """Decides, at every step, the learning-rate multiplier of each stage.

    A stage whose multiplier is 0 throughout an epoch is frozen in it: no gradient, no decay, no penalty, and its norm and
    dropout layers in evaluation mode. Write a schedule as a frozen dataclass with one method.
    """

    @abstractmethod
    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        """The factor, 0 or more, on the learning rate that optimizer and scheduler give."""


@dataclass(frozen=True)
class FullFineTuning(FreezeSchedule):
    """All stages train; the encoder, which usually comes pretrained, at `encoder` times the learning rate."""

    encoder: float = 0.1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.encoder) and self.encoder > 0):
            raise ValueError(
                f"FullFineTuning: encoder={self.encoder} must be a finite factor above 0; FrozenEncoder() is the schedule that keeps it at 0"
            )

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return self.encoder if stage.part == "encoder" else 1.0


@dataclass(frozen=True)
class FrozenEncoder(FreezeSchedule):
    """Feature extraction: decoder and head train, the encoder stays what it was, its batch-norm statistics included."""

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return 0.0 if stage.part == "encoder" else 1.0
