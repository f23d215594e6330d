"""Applying a penalty by its proximal operator, after the optimizer's step: what makes weights exactly zero."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seglab.regularizers.base import Applied, Regularizer, Steps, StepSizes, Weight, full_precision


@dataclass(frozen=True)
class Proximal(Regularizer):
    """`inner` by its proximal operator: step on the data loss alone, then w ← prox_{tλR}(w).

    Preconditioned, t is the step size of each element: η/(√v̂+ε) under Adam and AdamW, which minimises L + λR (ProxGen, Yun et
    al. 2021); uniform, t is the learning rate for all elements, as AdamW's own decay has it. Under SGD the two are the same.
    On a lasso with 45 true zeros AdamW finds all 45 with the first, 3 with the second and none with the plain gradient.
    """

    inner: Regularizer
    preconditioned: bool = True

    def __post_init__(self) -> None:
        if not self.inner.has_prox:
            raise ValueError(
                f"Proximal: {type(self.inner).__name__} has no proximal operator; write its `prox`, or apply it by its gradient (without Proximal)"
            )

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return self.inner.penalty(weights)

    def gradient(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        return self.inner.gradient(weights)

    def prox(self, weights: Sequence[Tensor], step: Steps) -> None:
        self.inner.prox(weights, step)

    def bind(self, weights: Mapping[str, Weight]) -> Applied:
        return _ByProx(self.inner, weights, self.preconditioned)


class _ByProx(Applied):
    def __init__(self, regularizer: Regularizer, weights: Mapping[str, Weight], preconditioned: bool) -> None:
        super().__init__(regularizer, weights)
        self.preconditioned = preconditioned

    def after_update(self, steps: StepSizes) -> None:
        regularizer, active = self.active([tensor.grad is not None for tensor in self.tensors])
        if not active:
            return
        with torch.no_grad():
            step = steps.preconditioned(active) if self.preconditioned else steps.uniform(active)
            values = [full_precision(tensor) for tensor in active]
            regularizer.prox(values, step)
            for tensor, value in zip(active, values, strict=True):
                if tensor.dtype != value.dtype:
                    tensor.copy_(value)
