"""What a weight penalty is, and what applies it once per optimizer step."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from seglab.stage import Progress


class Weight(NamedTuple):
    """A parameter that a penalty may act on."""

    tensor: Tensor
    """The parameter itself, any shape."""
    stage: str
    """Name of the stage it belongs to."""
    pretrained: bool
    """Whether the weight loader filled it."""


Steps = Sequence[Tensor] | Sequence[float]
"""One step size per weight: a number, or a tensor of the weight's shape."""


class StepSizes(Protocol):
    """The step that the optimizer has just taken, per weight; what a proximal operator scales its threshold with."""

    def uniform(self, weights: Sequence[Tensor]) -> list[float]:
        """The learning rate of each weight."""

    def preconditioned(self, weights: Sequence[Tensor]) -> Steps:
        """The learning rate of each element where the optimizer has one (Adam, AdamW), else as `uniform`."""


class Regularizer(ABC):
    """A weight penalty λR(w): a frozen, stateless description whose repr is its hyper-parameters.

    A new penalty is a frozen dataclass with one method, `penalty`. Its gradient then comes from autograd; write `gradient` to
    make it faster and `prox` to make it usable in `Proximal`. Sums run over all weights given: sum convention, never a mean, so
    that λ means the same whatever trains.
    """

    @abstractmethod
    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        """λR(w), 0-dim, from float32 (or float64) weights of any shapes; differentiable."""

    def gradient(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        """∇λR(w), one tensor per weight, of its shape."""
        with torch.enable_grad():
            leaves = [weight.detach().requires_grad_() for weight in weights]
            return torch.autograd.grad(self.penalty(leaves), leaves, allow_unused=True, materialize_grads=True)

    def prox(self, weights: Sequence[Tensor], step: Steps) -> None:
        """Replace each weight v, in place, by argmin_w ½‖w−v‖²/t + λR(w), t being its entry in `step`: a number, or a tensor of its shape."""
        raise NotImplementedError(f"{type(self).__name__} has no proximal operator")

    @property
    def has_prox(self) -> bool:
        """Whether `prox` is there."""
        return type(self).prox is not Regularizer.prox

    def fixed(self, weights: Sequence[Tensor]) -> "Regularizer":
        """This penalty with all that follows from the starting weights made constant; itself, if nothing does."""
        return self

    def select(self, index: Sequence[int]) -> "Regularizer":
        """The fixed penalty for a subset, by position, of the weights it was fixed on; itself, if it treats all weights alike."""
        return self

    def bind(self, weights: Mapping[str, Weight]) -> "Applied":
        """Make the part that acts on a network's weights; called once, after they are loaded. Wrappers override this."""
        return ByGradient(self, weights)


class Applied(ABC):  # noqa: B024 - a penalty may act before the update, after it, or both
    """A regularizer at work on the weights of one network. The training step calls this and nothing else.

    It acts on the weights that have a gradient: a frozen stage neither shrinks nor counts.
    """

    def __init__(self, regularizer: Regularizer, weights: Mapping[str, Weight]) -> None:
        self.tensors = [weight.tensor for weight in weights.values()]
        self.regularizer = regularizer.fixed([full_precision(tensor) for tensor in self.tensors])

    def before_update(self, progress: Progress) -> None:  # noqa: B027 - a default, not a forgotten abstract method
        """Act on the gradients, after unscaling and before clipping; once per optimizer step."""

    def after_update(self, steps: StepSizes) -> None:  # noqa: B027
        """Act on the weights that the optimizer has just moved; not called for a step that a gradient scaler skipped."""

    def value(self) -> Tensor:
        """λR of the weights that train now, 0-dim, for the log."""
        regularizer, active = self.active([tensor.requires_grad for tensor in self.tensors])
        with torch.no_grad():
            return regularizer.penalty([full_precision(tensor) for tensor in active])

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs beyond the weights: plain data and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Take back what `state_dict` gave."""

    def active(self, chosen: Sequence[bool]) -> tuple[Regularizer, list[Tensor]]:
        """The weights that are `chosen`, and the penalty on them."""
        if all(chosen):
            return self.regularizer, self.tensors
        index = [position for position, this in enumerate(chosen) if this]
        return self.regularizer.select(index), [self.tensors[position] for position in index]


class ByGradient(Applied):
    """Adds ∇λR to the gradients: the same update as λR in the loss, without its graph, once per optimizer step.

    With gradients accumulated over k batches the loss route divides each batch's penalty by k, and so under-weights the penalty
    in an epoch's last window when that is shorter than k; here it always has its full weight.
    """

    def before_update(self, progress: Progress) -> None:
        regularizer, active = self.active([tensor.grad is not None for tensor in self.tensors])
        if not active:
            return
        with torch.no_grad():
            penalty = regularizer.gradient([full_precision(tensor) for tensor in active])
            gradients = [tensor.grad for tensor in active if tensor.grad is not None]
            torch._foreach_add_(gradients, tuple(penalty))


def full_precision(weight: Tensor) -> Tensor:
    """The weight's values in float32, or in float64 if it has that."""
    weight = weight.detach()
    return weight if weight.dtype in (torch.float32, torch.float64) else weight.float()


def check_strength(name: str, strength: float) -> None:
    """Refuse a λ that is negative, infinite or not a number."""
    if not (math.isfinite(strength) and strength >= 0):
        raise ValueError(f"{name}: strength must be a finite number, 0 or more; got {strength}")
