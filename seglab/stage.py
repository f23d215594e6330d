"""Where in a network a parameter sits, and how far a training has come: the two things that schedules are functions of."""

from dataclasses import dataclass
from typing import Literal

ScaleFree = Literal["filter", "tensor", "no", "unknown"]
"""What of a weight can be scaled without changing the network's output, as a norm layer that uses the statistics of its input follows:
each output filter by itself, the tensor as a whole, or nothing."""


@dataclass(frozen=True)
class Stage:
    """A group of parameters that is trained, frozen and logged as one."""

    name: str
    """`encoder.0` (the input side) ... `encoder.4`, `decoder`, `head`."""
    depth: int
    """0 at the input, counting up."""
    height: int
    """0 at the head, counting up towards the input."""
    part: Literal["encoder", "decoder", "head"]


@dataclass(frozen=True)
class Progress:
    """How far a training has come, before the optimizer step that is about to happen."""

    step: int
    """Optimizer steps done."""
    steps: int
    """Optimizer steps that are planned in all."""
    steps_per_epoch: int

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.step // self.steps_per_epoch

    @property
    def fraction(self) -> float:
        """Steps done over all that are planned, in [0, 1)."""
        return self.step / self.steps

    def at(self, step: int) -> "Progress":
        """The progress of the same training at another step."""
        return Progress(step, self.steps, self.steps_per_epoch)
