"""The two arguments of a schedule: the position of a parameter in a network, and the progress of a training."""

from dataclasses import dataclass
from typing import Literal

ScaleFree = Literal["filter", "tensor", "no", "unknown"]
"""Part of a weight whose scale does not change the network's output: each output filter, the tensor, or nothing.

The output does not change because a norm layer follows that uses the statistics of its input. "unknown" if this cannot
be found out.
"""


@dataclass(frozen=True)
class Stage:
    """A group of parameters that are trained, frozen and logged together."""

    name: str
    """`encoder.0` (the input side) ... `encoder.4`, `decoder`, `head`."""
    depth: int
    """Number of stages before this one: 0 at the input."""
    height: int
    """Number of stages after this one: 0 at the head."""
    part: Literal["encoder", "decoder", "head"]


@dataclass(frozen=True)
class Progress:
    """Progress of a training before its next optimizer step."""

    step: int
    """Number of optimizer steps done."""
    steps: int
    """Number of optimizer steps planned in total."""
    steps_per_epoch: int

    @property
    def epoch(self) -> int:
        """Return the number of epochs done."""
        return self.step // self.steps_per_epoch

    @property
    def fraction(self) -> float:
        """Return the number of steps done divided by the number of steps planned, in [0, 1)."""
        return self.step / self.steps

    def at(self, step: int) -> "Progress":
        """Return the progress of the same training at another step."""
        return Progress(step, self.steps, self.steps_per_epoch)
