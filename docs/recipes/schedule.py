"""A freezing schedule of one's own: each stage's factor on the learning rate at any moment, 0 being frozen."""

from dataclasses import dataclass

from seglab import FreezeSchedule, Progress, Stage


@dataclass(frozen=True)
class HeadFirst(FreezeSchedule):
    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return 1.0 if stage.part == "head" or progress.fraction >= 0.1 else 0.0
