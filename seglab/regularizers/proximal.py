"""Applying a penalty by its proximal operator, after the optimizer's step: what makes weights exactly zero."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from seglab.regularizers.base import Applied, Part, Regularizer, Route, Steps, StepSizes, Term, Weight, Wrapper
from seglab.regularizers.penalties import scaled


@dataclass(frozen=True)
class Proximal(Wrapper):
    """`inner` by its proximal operator: step on the data loss alone, then w ← prox_{tλR}(w).

    Preconditioned, t is the step size of each element: η/(√v̂+ε) under Adam and AdamW, which minimises L + λR (ProxGen, Yun et
    al. 2021), and η/(1−μ) under SGD with momentum μ, which does the same; uniform, t is the learning rate for all elements, as AdamW's
    own decay has it. Under SGD without momentum the two are the same.
    On a lasso with 45 true zeros AdamW finds all 45 with the first, 3 with the second and none with the plain gradient.
    """

    inner: Regularizer
    preconditioned: bool = True

    def __post_init__(self) -> None:
        if not self.inner.has_prox:
            raise ValueError(
                f"Proximal: {type(self.inner).__name__} has no proximal operator; write its `prox`, or apply it by its gradient (without Proximal)"
            )

    @property
    def has_prox(self) -> bool:
        """It is applied already; no second `Proximal` around it."""
        return False

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        if route is not None:
            raise ValueError(f"{self!r} is applied by its proximal operator, and cannot be applied in another way at once: take it out")
        return self.inner.bind(weights, lambda regularizer, chosen: ByProx(regularizer, chosen, preconditioned=self.preconditioned))


class ByProx(Term):
    """Applies the proximal operator of its penalty to what the optimizer has made of the weights."""

    def __init__(self, regularizer: Regularizer, weights: Mapping[str, Weight], *, preconditioned: bool) -> None:
        super().__init__(regularizer, weights)
        self.preconditioned = preconditioned

    def after_update(self, steps: StepSizes) -> None:
        if self.factor == 0:
            return
        with torch.no_grad():
            for regularizer, parts in self.works():
                values = [part.values() for part in parts]
                regularizer.prox(values, self._step(steps, parts))
                for part, value in zip(parts, values, strict=True):
                    _put_back(part, value)

    def _step(self, steps: StepSizes, parts: list[Part]) -> Steps:
        """t of each weight, or of its elements; a factor on λ is a factor on t."""
        tensors = [part.weight.tensor for part in parts]
        sizes = steps.preconditioned(tensors, [part.view for part in parts]) if self.preconditioned else steps.uniform(tensors)
        return sizes if self.factor == 1 else scaled(sizes, self.factor)


def _put_back(part: Part, value: torch.Tensor) -> None:
    """The new value of a weight that `values` did not give as a view."""
    if part.weight.anchor is not None:
        part.view(part.weight.tensor).copy_(part.view(part.weight.anchor) + value)
    elif part.weight.tensor.dtype != value.dtype:
        part.view(part.weight.tensor).copy_(value)
