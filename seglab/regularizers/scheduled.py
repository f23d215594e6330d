"""Change a penalty's strength during training."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seglab.given import is_factor
from seglab.regularizers.applied import Applied, Route, StepSizes, Term
from seglab.regularizers.regularizer import Regularizer, Wrapper
from seglab.regularizers.weight import Weight
from seglab.stage import Progress

Factor = Callable[[Progress], float]
"""Returns the factor on λ at a step, 0 or more. It is a pure function, so that a checkpoint need not save it."""


@dataclass(frozen=True)
class Constant:
    """One factor for the whole training."""

    value: float = 1.0

    def __call__(self, progress: Progress) -> float:
        return self.value


@dataclass(frozen=True)
class LinearWarmup:
    """Increases from 0 to 1 over the first `fraction` of the training, then stays at 1."""

    fraction: float = 0.1

    def __post_init__(self) -> None:
        _check_fraction("LinearWarmup", self.fraction)

    def __call__(self, progress: Progress) -> float:
        return min(1.0, progress.fraction / self.fraction)


@dataclass(frozen=True)
class Cosine:
    """Goes from `start` to `end` along half a cosine over the whole training."""

    start: float = 1.0
    end: float = 0.0

    def __call__(self, progress: Progress) -> float:
        return self.end + 0.5 * (self.start - self.end) * (1 + math.cos(math.pi * progress.fraction))


@dataclass(frozen=True)
class Scheduled(Wrapper):
    """`inner` with λ·factor(progress): `Scheduled(L2(1e-4), LinearWarmup(0.1))`.

    The factor may be any function of the progress.

    A step with factor 0 costs nothing.

    Raises:
        ValueError: `factor` is no function; on `bind`, if `inner` has no penalty; at a step, if the factor is negative,
            infinite, NaN or no number.
    """

    inner: Regularizer
    factor: Factor

    def __post_init__(self) -> None:
        if not callable(self.factor):
            raise ValueError(f"Scheduled: factor is {self.factor!r}; expected a function of the progress, such as Constant(0.5)")

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        return _WithFactor(self.inner.bind(weights, route), self.factor)


class AppliedWrapper(Applied):
    """Passes every call on to `inner`. Subclasses override some of them."""

    def __init__(self, inner: Applied) -> None:
        if not inner.terms():
            raise ValueError(
                "Scheduled and Relative set the strength of a penalty, and the regularizer inside has none: put FixedNorm beside them, Sum([..., FixedNorm()])"
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


class _WithFactor(AppliedWrapper):
    def __init__(self, inner: Applied, factor: Factor) -> None:
        super().__init__(inner)
        self.factor = factor

    def before_update(self, progress: Progress, factor: float = 1.0) -> None:
        own = self.factor(progress)
        if not is_factor(own):
            raise ValueError(f"Scheduled: the factor on the strength must be a finite number, 0 or more; got {own} at {progress}")
        super().before_update(progress, factor * own)


def _check_fraction(name: str, fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise ValueError(f"{name}: fraction must be above 0 and at most 1; got {fraction}")
