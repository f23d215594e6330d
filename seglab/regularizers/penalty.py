"""`Penalty`: the methods that an author of a weight penalty writes.

A new penalty is a frozen dataclass with one method:

    @dataclass(frozen=True)
    class L4(Regularizer):
        strength: float

        def penalty(self, weights: Sequence[Tensor]) -> Tensor:
            return self.strength * torch.stack([weight.pow(4).sum() for weight in weights]).sum()

`Regularizer` (`regularizer.py`) is a `Penalty` that can be bound to the weights of a network. `applied.py` holds the
objects that binding makes and that a training step calls.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from seglab.regularizers.weight import Steps


class Penalty(ABC):
    """A weight penalty λR(w): a frozen, stateless description whose fields are its hyper-parameters.

    Only `penalty` must be written. Autograd gives the gradient; write `gradient` if a closed form is faster. Write
    `prox` to make the penalty usable in `Proximal`. R is a sum over all given weights, never a mean, so that λ means
    the same whatever trains.
    """

    separable: ClassVar[bool] = False
    """True if R is a sum over output filters (dimension 0 of each weight). R can then be computed on some filters at a
    time.
    """

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
            value = _number(f"{type(self).__name__}.penalty", self.penalty(leaves))
            return torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)

    def prox(self, weights: Sequence[Tensor], step: Steps) -> None:
        """Replace each weight v, in place, by argmin_w ½‖w−v‖²/t + λR(w).

        Args:
            weights: as in `penalty`.
            step: t of each weight, a number or a tensor of the weight's shape.
        """
        raise NotImplementedError(f"{type(self).__name__} has no proximal operator")

    def fixed(self, weights: Sequence[Tensor]) -> "Penalty":
        """Return this penalty with all values computed that depend on the initial weights; itself if no value does."""
        return self

    def select(self, index: Sequence[int]) -> "Penalty":
        """Return the fixed penalty of a subset of weights, by position; itself if it treats all weights alike."""
        return self

    def state(self) -> dict[str, Any]:
        """Return values that `fixed` computed and training changes, as plain data and tensors for a checkpoint."""
        return {}

    def with_state(self, state: Mapping[str, Any], device: torch.device) -> "Penalty":
        """Return the fixed penalty with a result of `state` restored, its tensors on `device`."""
        return self


def _number(name: str, value: object) -> Tensor:
    """Return what a penalty has returned, if it is one number with a gradient.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad:
        return value
    shape = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.40}"
    what = f"{shape} without a gradient" if isinstance(value, Tensor) and not value.requires_grad else shape
    raise ValueError(
        f"{name} returns {what}; expected a tensor of one number that is computed from the weights: a sum over them, without .detach() and "
        ".item()"
    )


def check_strength(name: str, strength: float) -> None:
    """Check that λ is a finite number, 0 or more.

    Raises:
        ValueError: λ is negative, infinite or NaN.
    """
    if not (math.isfinite(strength) and strength >= 0):
        raise ValueError(f"{name}: strength must be a finite number, 0 or more; got {strength}")
