"""The schedules of the literature, each in a few lines.

All except `Surgical` train decoder and head, which are usually new, from the start.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from seglab.freezing.schedule import FreezeSchedule, When, at_least_a_step, before_end, check_factor, check_when, in_steps
from seglab.stage import Progress, Stage
from seglab.suggestions import did_you_mean


def level(stage: Stage) -> int:
    """Return 0 for decoder and head, 1 for the deepest stage of the encoder, and so on towards the input."""
    return stage.height - 1 if stage.part == "encoder" else 0


@dataclass(frozen=True)
class FullFineTuning(FreezeSchedule):
    """All stages train. The encoder, which is usually pretrained, trains at `encoder` times the learning rate."""

    encoder: float = 0.1

    def __post_init__(self) -> None:
        if self.encoder == 0:
            raise ValueError("FullFineTuning: encoder=0 would not train the encoder; FrozenEncoder() is the schedule that keeps it frozen")
        check_factor("FullFineTuning: encoder", self.encoder)

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return self.encoder if stage.part == "encoder" else 1.0


@dataclass(frozen=True)
class FrozenEncoder(FreezeSchedule):
    """Feature extraction: decoder and head train. The encoder, with its batch-norm statistics, stays as it is."""

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return 0.0 if stage.part == "encoder" else 1.0


@dataclass(frozen=True)
class LPFT(FreezeSchedule):
    """Linear probing, then fine-tuning: decoder and head train alone for `probe`, then all stages (Kumar et al. 2022,
    arXiv:2202.10054).

    A new head that has settled does not distort pretrained features when the encoder begins to train.
    `Product([LPFT(0.1), FullFineTuning(0.1)])` trains the encoder at a tenth of the learning rate after the probe.
    """

    probe: When = 0.1

    def __post_init__(self) -> None:
        check_when("LPFT: probe", self.probe)

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return 0.0 if stage.part == "encoder" and progress.step < in_steps(self.probe, progress) else 1.0

    def check(self, stages: Sequence[Stage], start: Progress) -> None:
        at_least_a_step(f"{self!r}", self.probe, start)
        before_end(f"{self!r}", "the encoder would be unfrozen", in_steps(self.probe, start), start)


@dataclass(frozen=True)
class GradualUnfreeze(FreezeSchedule):
    """Decoder and head train first. After each `every`, one more stage of the encoder trains, the deepest first.

    Source: Howard & Ruder 2018, arXiv:1801.06146.
    """

    every: When = 0.1

    def __post_init__(self) -> None:
        check_when("GradualUnfreeze: every", self.every)

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return 1.0 if progress.step >= self._start(stage, progress) else 0.0

    def check(self, stages: Sequence[Stage], start: Progress) -> None:
        at_least_a_step(f"{self!r}", self.every, start)
        for stage in stages:
            before_end(f"{self!r}", f"{stage.name} would be unfrozen", self._start(stage, start), start)

    def _start(self, stage: Stage, progress: Progress) -> int:
        return in_steps(self.every * level(stage), progress)


@dataclass(frozen=True)
class LayerwiseDecay(FreezeSchedule):
    """Discriminative learning rates: the factor of each encoder stage is `decay` times that of the next deeper stage.

    Decoder and head have the factor 1, and the deepest encoder stage has the factor `decay`.
    Howard & Ruder 2018 (arXiv:1801.06146) divide by 2.6 per layer. BEiT (arXiv:2106.08254) multiplies by 0.65 to 0.95.
    """

    decay: float = 0.65

    def __post_init__(self) -> None:
        check_factor("LayerwiseDecay: decay", self.decay)

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return float(self.decay ** level(stage))


@dataclass(frozen=True)
class Surgical(FreezeSchedule):
    """Only the named stages train (Lee et al. 2023, arXiv:2210.11466).

    Name early stages for a shift of the input, and late stages for a shift of the labels. A name is that of a stage
    (`encoder.0`, …, `decoder`, `head`), or `encoder` for all of its stages. Name a new decoder or head too: stages that
    are not named keep their initial weights.
    """

    stages: Sequence[str]

    def __post_init__(self) -> None:
        if isinstance(self.stages, str) or not self.stages:
            raise ValueError(
                f"Surgical: stages={self.stages!r}: expected a list of one stage or more, such as ['encoder.0', 'decoder', 'head']"
            )

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return 1.0 if any(_covers(name, stage) for name in self.stages) else 0.0

    def check(self, stages: Sequence[Stage], start: Progress) -> None:
        names = [stage.name for stage in stages]
        for name in self.stages:
            if not any(_covers(name, stage) for stage in stages):
                hint = did_you_mean(name, [*names, "encoder"])
                raise ValueError(f"Surgical: there is no stage {name!r}{hint}; the stages are {', '.join(names)}")


@dataclass(frozen=True)
class FreezeOut(FreezeSchedule):
    """The learning rate of each stage falls to 0 along half a cosine and stays 0, the shallow stages first.

    Source: Brock et al. 2017, arXiv:1706.04983. Stage l of L ends at the fraction t_l of the training. The t_l are
    spaced evenly from `first` at the input to 1 at the head. If `cubic`, they are cubed, so that shallow stages end
    earlier. If `scaled`, a stage begins at 1/t_l times the learning rate, so that all stages have the same sum of
    learning rates. The cosine is the schedule of the learning rates: give the module no other scheduler. The defaults
    are the choice of the paper.
    """

    first: float = 0.8
    cubic: bool = True
    scaled: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.first <= 1:
            raise ValueError(f"FreezeOut: first={self.first}: expected a fraction of the training above 0 and at most 1")

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        end = self.first + (1 - self.first) * stage.depth / max(1, stage.depth + stage.height)
        end = end**3 if self.cubic else end
        if progress.fraction >= end:
            return 0.0
        start = 1 / end if self.scaled else 1.0
        return 0.5 * start * (1 + math.cos(math.pi * progress.fraction / end))


def _covers(name: str, stage: Stage) -> bool:
    return name == stage.name or stage.name.startswith(f"{name}.")
