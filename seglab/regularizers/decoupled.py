"""Decay weights outside of the optimizer, so that the optimizer's gradient statistics do not include the penalty."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from seglab.regularizers.applied import Applied, Route, StepSizes, Term, gradient_of
from seglab.regularizers.regularizer import Regularizer, Wrapper
from seglab.regularizers.weight import Weight


@dataclass(frozen=True)
class Decoupled(Wrapper):
    """Applies `inner` outside of the optimizer: w ← w − η∇λR(w) just before the update.

    η is the learning rate of the weight's stage.

    `Decoupled(L2(λ))` under Adam is AdamW's weight decay λ (Loshchilov & Hutter 2019): the second moment does not
    divide the penalty's gradient. Typical λ are therefore larger than for a penalty in the loss, 1e-3 to 1e-1.

    Raises:
        ValueError: on `bind`, if a `Proximal` or another `Decoupled` is around it.
    """

    inner: Regularizer

    @property
    def has_prox(self) -> bool:
        """False: the penalty is applied already, and no `Proximal` may be around it."""
        return False

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        if route is not None:
            raise ValueError(
                f"{self!r} is applied as decoupled decay, and a wrapper around it applies it in another way: remove one of the two"
            )
        return self.inner.bind(weights, Decay)


class Decay(Term):
    """Takes a step of gradient descent on the penalty alone, before the optimizer's update."""

    def decouple(self, steps: StepSizes) -> None:
        if self.factor == 0:
            return
        with torch.no_grad():
            for regularizer, parts in self.works():
                gradients = gradient_of(regularizer, parts)
                rates = steps.uniform([part.weight.tensor for part in parts])
                moves = torch._foreach_mul(gradients, [-self.factor * rate for rate in rates])
                torch._foreach_add_([part.view(part.weight.tensor.detach()) for part in parts], moves)
