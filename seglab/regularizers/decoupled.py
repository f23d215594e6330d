"""Decay that the optimizer's gradient statistics never see."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from seglab.regularizers.base import Applied, Regularizer, Route, StepSizes, Term, Weight, Wrapper


@dataclass(frozen=True)
class Decoupled(Wrapper):
    """`inner` beside the optimizer: w ← w − η∇λR(w) just before the update, η being the learning rate of the weight's stage.

    `Decoupled(L2(λ))` under Adam is AdamW's weight decay λ (Loshchilov & Hutter 2019): the step does not go through the second moment.
    Typical λ for AdamW are therefore larger, 1e-3 to 1e-1.
    """

    inner: Regularizer

    @property
    def has_prox(self) -> bool:
        """It is applied already; no `Proximal` around it."""
        return False

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        if route is not None:
            raise ValueError(f"{self!r} is decoupled, and cannot be applied in another way at once: take it out")
        return self.inner.bind(weights, Decay)


class Decay(Term):
    """Takes a step of gradient descent on its penalty alone."""

    def decouple(self, steps: StepSizes) -> None:
        if self.factor == 0:
            return
        with torch.no_grad():
            for regularizer, parts in self.works():
                gradients = regularizer.gradient([part.values() for part in parts])
                rates = steps.uniform([part.weight.tensor for part in parts])
                moves = torch._foreach_mul(list(gradients), [-self.factor * rate for rate in rates])
                torch._foreach_add_([part.view(part.weight.tensor.detach()) for part in parts], moves)
