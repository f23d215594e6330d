"""Set a penalty's strength relative to the data loss's gradient, so that one number means the same for each penalty."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seglab.regularizers.applied import Applied, Route, gradient_of
from seglab.regularizers.regularizer import Regularizer, Wrapper
from seglab.regularizers.scheduled import AppliedWrapper
from seglab.regularizers.weight import Weight
from seglab.stage import Progress

log = logging.getLogger("seglab")


@dataclass(frozen=True)
class Relative(Wrapper):
    """`inner` with λ such that ‖∇λR‖/‖∇L‖ = `ratio`.

    λ is measured once and then fixed; the strength of `inner` must only be above 0.

    Both gradient norms are taken over the penalized weights that train, and averaged over `steps` optimizer steps. The
    measurement starts at `after`, a fraction of the training. Until the measurement ends, nothing is penalized. The
    gradient of an anchored penalty is measured on the weights' drift from their anchors up to that point. The measured
    factor on λ is logged as `train/penalty_factor`.

    Raises:
        ValueError: an argument is out of range; when training starts, if it is too short for the measurement; after the
            measurement, if the penalty's gradient is 0.
    """

    inner: Regularizer
    ratio: float
    after: float = 0.05
    steps: int = 10

    def __post_init__(self) -> None:
        if not (math.isfinite(self.ratio) and self.ratio >= 0):
            raise ValueError(f"Relative: ratio must be a finite number, 0 or more; got {self.ratio}")
        if not 0 <= self.after < 1:
            raise ValueError(f"Relative: after is a fraction of the training, at least 0 and below 1; got {self.after}")
        if self.steps < 1:
            raise ValueError(f"Relative: steps must be 1 or more; got {self.steps}")

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        return Measured(self.inner.bind(weights, route), self)


class Measured(AppliedWrapper):
    """Measures the factor on λ, then applies the penalty with it."""

    def __init__(self, inner: Applied, settings: Relative) -> None:
        super().__init__(inner)
        self.settings = settings
        self.factor: float | None = None
        self._data: list[float] = []
        self._penalty: list[float] = []

    def start(self, steps: int) -> None:
        super().start(steps)
        first = math.ceil(self.settings.after * steps)
        if self.factor is None and first + self.settings.steps >= steps:
            raise ValueError(
                f"{self.settings!r} measures {self.settings.steps} steps from step {first} on, and this training has {steps}: "
                "nothing would be penalized. Train for more epochs, give a strength in place of a ratio, or lower `after` or `steps` of Relative"
            )

    def observe(self, progress: Progress) -> None:
        super().observe(progress)
        if self.factor is not None or progress.fraction < self.settings.after:
            return
        data, penalty = gradient_norms(self.inner)
        if math.isfinite(data) and math.isfinite(penalty):  # a gradient scaler skips steps whose gradients are not
            self._data.append(data)
            self._penalty.append(penalty)
        if len(self._data) == self.settings.steps:
            self._fix()

    def before_update(self, progress: Progress, factor: float = 1.0) -> None:
        super().before_update(progress, 0.0 if self.factor is None else factor * self.factor)

    def state_dict(self) -> dict[str, Any]:
        return {"inner": self.inner.state_dict(), "factor": self.factor, "data": self._data, "penalty": self._penalty}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state_dict(state["inner"])
        self.factor, self._data, self._penalty = state["factor"], list(state["data"]), list(state["penalty"])

    def _fix(self) -> None:
        data, penalty = sum(self._data) / len(self._data), sum(self._penalty) / len(self._penalty)
        if penalty == 0:
            raise ValueError(
                f"{self.settings!r}: the gradient of the penalty is 0, so no strength gives the ratio. Give the inner penalty a strength above 0"
            )
        self.factor = self.settings.ratio * data / penalty
        log.info("%r: ‖∇L‖ = %.3g and ‖∇R‖ = %.3g, so its strength is multiplied by %.4g", self.settings, data, penalty, self.factor)


def gradient_norms(applied: Applied) -> tuple[float, float]:
    """Return ‖∇L‖ and ‖∇λR‖ (λ without factors) over the penalized weights that have a gradient.

    Call it before a penalty is added.
    """
    data: dict[int, Tensor] = {}
    penalty: dict[int, Tensor] = {}
    with torch.no_grad():
        for term in applied.terms():
            regularizer, parts = term.whole([weight.tensor.grad is not None for weight in term.weights.values()])
            gradients = gradient_of(regularizer, parts) if parts else []
            for part, own in zip(parts, gradients, strict=True):
                key = id(part.weight.tensor)
                data[key] = part.gradient()
                penalty[key] = penalty[key] + own if key in penalty else own
    return _norm(data), _norm(penalty)


def _norm(gradients: Mapping[int, Tensor]) -> float:
    return float(torch.nn.utils.get_total_norm(list(gradients.values()))) if gradients else math.nan
