"""A strength that changes in the course of a training."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seglab.regularizers.base import Applied, Regularizer, Route, StepSizes, Term, Weight, Wrapper
from seglab.stage import Progress

Factor = Callable[[Progress], float]
"""What λ is multiplied by at a step, 0 or more; a pure function, so that a resume needs nothing."""


@dataclass(frozen=True)
class Constant:
    """The same factor always."""

    value: float = 1.0

    def __call__(self, progress: Progress) -> float:
        return self.value


@dataclass(frozen=True)
class LinearWarmup:
    """From 0 to 1 over the first `fraction` of the training, then 1."""

    fraction: float = 0.1

    def __post_init__(self) -> None:
        _check_fraction("LinearWarmup", self.fraction)

    def __call__(self, progress: Progress) -> float:
        return min(1.0, progress.fraction / self.fraction)


@dataclass(frozen=True)
class Cosine:
    """From `start` to `end` along half a cosine over the whole training."""

    start: float = 1.0
    end: float = 0.0

    def __call__(self, progress: Progress) -> float:
        return self.end + 0.5 * (self.start - self.end) * (1 + math.cos(math.pi * progress.fraction))


@dataclass(frozen=True)
class Scheduled(Wrapper):
    """`inner` with λ·factor(progress): `Scheduled(L2(1e-4), LinearWarmup(0.1))`, or any function of the progress.

    At a factor of 0 nothing is computed.
    """

    inner: Regularizer
    factor: Factor

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        return _WithFactor(self.inner.bind(weights, route), self.factor)


class Around(Applied):
    """What acts as `inner` does, but for what a subclass changes."""

    def __init__(self, inner: Applied) -> None:
        if not inner.terms():
            raise ValueError(
                "Scheduled and Relative set the strength of a penalty, and there is none in what they wrap; put FixedNorm beside"
            )
        self.inner = inner

    def start(self, steps: int) -> None:
        self.inner.start(steps)

    def observe(self, progress: Progress) -> None:
        self.inner.observe(progress)

    def before_update(self, progress: Progress, factor: float = 1.0) -> None:
        self.inner.before_update(progress, factor)

    def decouple(self, steps: StepSizes) -> None:
        self.inner.decouple(steps)

    def after_update(self, steps: StepSizes) -> None:
        self.inner.after_update(steps)

    def terms(self) -> Sequence[Term]:
        return self.inner.terms()

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state_dict(state)


class _WithFactor(Around):
    def __init__(self, inner: Applied, factor: Factor) -> None:
        super().__init__(inner)
        self.factor = factor

    def before_update(self, progress: Progress, factor: float = 1.0) -> None:
        own = self.factor(progress)
        if not (math.isfinite(own) and own >= 0):
            raise ValueError(f"Scheduled: the factor on the strength must be a finite number, 0 or more; got {own} at {progress}")
        super().before_update(progress, factor * own)


def _check_fraction(name: str, fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise ValueError(f"{name}: fraction must be above 0 and at most 1; got {fraction}")
