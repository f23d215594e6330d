"""Apply a penalty by its proximal operator after the optimizer's step, which makes weights exactly zero."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.optim import Optimizer

from seglab.regularizers.applied import Applied, Route, StepSizes, Term
from seglab.regularizers.penalties import scaled
from seglab.regularizers.penalty import Penalty
from seglab.regularizers.regularizer import Regularizer, Wrapper
from seglab.regularizers.steps import check_preconditioner
from seglab.regularizers.weight import Part, Steps, Weight


@dataclass(frozen=True)
class Proximal(Wrapper):
    """Applies `inner` by its proximal operator: the optimizer steps on the data loss alone, then w ← prox_{tλR}(w).

    If `preconditioned`, t is the step size of each element, and the training minimises L + λR (ProxGen, Yun et al.
    2021): η/(√v̂+ε) under Adam and AdamW, η/(1−μ) under SGD with momentum μ. Otherwise t is the learning rate, as in
    AdamW's own decay. Under SGD without momentum the two are equal. On a lasso with 45 true zeros, AdamW finds all 45
    preconditioned, 3 otherwise, and none with the plain gradient.

    Raises:
        ValueError: `inner` has no proximal operator or, on `bind`, a wrapper around it applies it in another way.
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
        """False: the penalty is applied already, and no second `Proximal` may be around it."""
        return False

    def check_optimizer(self, optimizer: Optimizer) -> None:
        if self.preconditioned:
            check_preconditioner(optimizer)
        super().check_optimizer(optimizer)

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        if route is not None:
            raise ValueError(
                f"{self!r} is applied by its proximal operator, and a wrapper around it applies it in another way: remove one of the two"
            )
        return self.inner.bind(weights, lambda regularizer, chosen: ByProx(regularizer, chosen, preconditioned=self.preconditioned))


class ByProx(Term):
    """Applies the proximal operator of a penalty to the weights after the optimizer's update."""

    by_prox: ClassVar[bool] = True

    def __init__(self, regularizer: Penalty, weights: Mapping[str, Weight], *, preconditioned: bool) -> None:
        super().__init__(regularizer, weights)
        self.preconditioned = preconditioned

    def after_update(self, steps: StepSizes) -> None:
        if self.factor == 0:
            return
        with torch.no_grad():
            for regularizer, parts in self.works():
                values = [part.values() for part in parts]
                returned: object = regularizer.prox(values, self._step(steps, parts))  # type: ignore[func-returns-value]
                if returned is not None:
                    raise ValueError(
                        f"{type(regularizer).__name__}.prox returns a {type(returned).__name__}, which has no effect: change the weights in "
                        "place, as by weight.copy_(value), and return nothing"
                    )
                for part, value in zip(parts, values, strict=True):
                    _put_back(part, value)

    def _step(self, steps: StepSizes, parts: list[Part]) -> Steps:
        """Return t of each weight or element. A factor on λ multiplies t."""
        tensors = [part.weight.tensor for part in parts]
        sizes = steps.preconditioned(tensors, [part.view for part in parts]) if self.preconditioned else steps.uniform(tensors)
        return sizes if self.factor == 1 else scaled(sizes, self.factor)


def _put_back(part: Part, value: torch.Tensor) -> None:
    """Write the new value to the weight, unless `Part.values` was a view of the weight."""
    if part.weight.anchor is not None:
        part.view(part.weight.tensor).copy_(part.view(part.weight.anchor) + value)
    elif part.weight.tensor.dtype != value.dtype:
        part.view(part.weight.tensor).copy_(value)
