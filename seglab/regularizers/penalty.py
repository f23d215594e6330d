"""The class that an author of a weight penalty extends.

A new penalty is a frozen dataclass with one method:

    @dataclass(frozen=True)
    class L4(Regularizer):
        strength: float

        def penalty(self, weights: Sequence[Tensor]) -> Tensor:
            return self.strength * torch.stack([weight.pow(4).sum() for weight in weights]).sum()

A new wrapper, which changes how, where or when a penalty acts, extends `Wrapper` and overrides `bind`. `applied.py` holds the objects
that `bind` makes and that a training step calls.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from seglab.regularizers.applied import Applied, ByGradient, Route
from seglab.regularizers.weight import Steps, Weight


class Regularizer(ABC):
    """A weight penalty λR(w): a frozen, stateless description whose fields are its hyper-parameters.

    Only `penalty` must be written. Autograd gives the gradient; write `gradient` if a closed form is faster. Write `prox` to make
    the penalty usable in `Proximal`. R is a sum over all given weights, never a mean, so that λ means the same whatever trains.
    """

    separable: ClassVar[bool] = False
    """Whether R is a sum over output filters (dimension 0 of each weight), so that it can be computed on some filters at a time."""

    @abstractmethod
    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        """Return λR(w), 0-dim and differentiable.

        Args:
            weights: float32 (or float64) tensors of any shapes, output filters along dimension 0.
        """

    def gradient(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return ∇λR(w), one tensor per weight, of the weight's shape."""
        with torch.enable_grad():
            leaves = [weight.detach().requires_grad_() for weight in weights]
            return torch.autograd.grad(self.penalty(leaves), leaves, allow_unused=True, materialize_grads=True)

    def prox(self, weights: Sequence[Tensor], step: Steps) -> None:
        """Replace each weight v, in place, by argmin_w ½‖w−v‖²/t + λR(w).

        Args:
            weights: as in `penalty`.
            step: t of each weight, a number or a tensor of the weight's shape.
        """
        raise NotImplementedError(f"{type(self).__name__} has no proximal operator")

    @property
    def has_prox(self) -> bool:
        """Whether this regularizer can be wrapped in `Proximal`."""
        return type(self).prox is not Regularizer.prox

    @property
    def acts_last(self) -> bool:
        """Whether the regularizer must act on the weights after all others, as it sets a property that another would spoil."""
        return any(part.acts_last for part in self.parts())

    @property
    def decays_weights(self) -> bool:
        """Whether the regularizer penalizes weights, so that an optimizer's `weight_decay` beside it would penalize them twice."""
        parts = self.parts()
        return any(part.decays_weights for part in parts) if parts else True

    def check_optimizer(self, optimizer: Optimizer) -> None:
        """Check that the regularizer can act beside `optimizer`.

        Raises:
            ValueError: it cannot, for example because it does not know the step size of this kind of optimizer.
        """
        for part in self.parts():
            part.check_optimizer(optimizer)

    def parts(self) -> "Sequence[Regularizer]":
        """Return the regularizers that this one wraps; none for a penalty."""
        return ()

    def fixed(self, weights: Sequence[Tensor]) -> "Regularizer":
        """Return this penalty with everything that depends on the starting weights computed, or itself if nothing does."""
        return self

    def select(self, index: Sequence[int]) -> "Regularizer":
        """Return the fixed penalty of a subset of its weights, given by position; itself if it treats all weights alike."""
        return self

    def state(self) -> dict[str, Any]:
        """Return, as plain data and tensors for a checkpoint, what `fixed` computed and what changes during training."""
        return {}

    def with_state(self, state: Mapping[str, Any], device: torch.device) -> "Regularizer":
        """Return the fixed penalty with the result of an earlier `state`, its tensors on `device`."""
        return self

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        """Return the object that applies this regularizer to a network's weights. Call it once, after the weights are loaded.

        Args:
            weights: all parameters of the network, by name.
            route: how a penalty is applied; None adds its gradient. A wrapper that is no route itself passes `route` on.

        Raises:
            ValueError: the regularizer cannot act on these weights.
        """
        return (ByGradient if route is None else route)(self, weights)


class Wrapper(Regularizer):
    """A regularizer that changes how, where or when `inner` acts, by overriding `bind`."""

    inner: Regularizer

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return self.inner.penalty(weights)

    @property
    def has_prox(self) -> bool:
        return self.inner.has_prox

    def parts(self) -> Sequence[Regularizer]:
        return (self.inner,)


def nested(regularizer: Regularizer) -> Iterator[Regularizer]:
    """Yield a regularizer and all regularizers that it wraps, directly or indirectly."""
    yield regularizer
    for part in regularizer.parts():
        yield from nested(part)


def check_strength(name: str, strength: float) -> None:
    """Check that λ is a finite number, 0 or more.

    Raises:
        ValueError: λ is negative, infinite or NaN.
    """
    if not (math.isfinite(strength) and strength >= 0):
        raise ValueError(f"{name}: strength must be a finite number, 0 or more; got {strength}")
