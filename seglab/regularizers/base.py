"""What a weight penalty is, and how it is bound to the weights of a network."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from seglab.stage import Progress, ScaleFree

Kind = Literal["weight", "bias", "norm"]
"""`norm`: scale and shift of a norm layer; `bias`: any other parameter with one dimension or none; `weight`: all others."""


class Weight(NamedTuple):
    """A parameter that a penalty may act on."""

    tensor: Tensor
    """The parameter itself, any shape."""
    stage: str
    """Name of the stage it belongs to."""
    pretrained: bool
    """Whether the weight loader filled it."""
    kind: Kind = "weight"
    scale_free: ScaleFree = "unknown"
    transposed: bool = False
    """Whether its output filters lie along dimension 1, as those of a transposed convolution do; else they lie along dimension 0."""
    penalized: bool = True
    """Whether penalties act on it; `Where` changes it."""
    anchor: Tensor | None = None
    """What penalties measure it from, of its shape; None is 0. `Anchored` sets it."""


Steps = Sequence[Tensor] | Sequence[float]
"""One step size per weight: a number, or a tensor of the weight's shape."""

View = Callable[[Tensor], Tensor]
"""Picks a part of a tensor, without a copy."""


class StepSizes(Protocol):
    """The step that the optimizer takes, per weight; what decoupled decay shrinks by and a proximal operator scales its threshold with."""

    def uniform(self, weights: Sequence[Tensor]) -> list[float]:
        """The learning rate of each weight."""

    def preconditioned(self, weights: Sequence[Tensor], views: Sequence[View] | None = None) -> Steps:
        """The learning rate of each element where the optimizer has one (Adam, AdamW), else as `uniform`; of a part of each weight where
        `views` picks one."""


class Regularizer(ABC):
    """A weight penalty λR(w): a frozen, stateless description whose repr is its hyper-parameters.

    A new penalty is a frozen dataclass with one method, `penalty`. Its gradient then comes from autograd; write `gradient` to
    make it faster and `prox` to make it usable in `Proximal`. Sums run over all weights given: sum convention, never a mean, so
    that λ means the same whatever trains.
    """

    separable: ClassVar[bool] = False
    """Whether R is a sum over output filters (dimension 0 of each weight), so that a part of them can be worked on at a time."""

    @abstractmethod
    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        """λR(w), 0-dim, from float32 (or float64) weights of any shapes, output filters along dimension 0; differentiable."""

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

    def parts(self) -> "Sequence[Regularizer]":
        """What a wrapper wraps; nothing for a penalty."""
        return ()

    def fixed(self, weights: Sequence[Tensor]) -> "Regularizer":
        """This penalty with all that follows from the starting weights made constant; itself, if nothing does."""
        return self

    def select(self, index: Sequence[int]) -> "Regularizer":
        """The fixed penalty for a subset, by position, of the weights it was fixed on; itself, if it treats all weights alike."""
        return self

    def state(self) -> dict[str, Any]:
        """What `fixed` has found, and what changes while it is applied: plain data and tensors, for a checkpoint."""
        return {}

    def with_state(self, state: Mapping[str, Any], device: torch.device) -> "Regularizer":
        """The fixed penalty with what `state` gave, its tensors on `device`."""
        return self

    def bind(self, weights: Mapping[str, Weight], route: "Route | None" = None) -> "Applied":
        """Make the part that acts on a network's weights; called once, after they are loaded.

        `route` is how a penalty is applied, by its gradient if None; wrappers that are not routes themselves pass it on.
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
    """A regularizer, and all that it wraps."""
    yield regularizer
    for part in regularizer.parts():
        yield from nested(part)


class Applied(ABC):  # noqa: B024 - it may act at any of four moments, and need not at each
    """A regularizer at work on the weights of one network. The training step calls this and nothing else.

    It acts on the weights that have a gradient: a frozen stage neither shrinks nor counts.
    """

    def start(self, steps: int) -> None:  # noqa: B027 - defaults, not forgotten abstract methods
        """The training begins, of `steps` optimizer steps in all; the weights are where they stay."""

    def observe(self, progress: Progress) -> None:  # noqa: B027
        """Look at the gradients of the data loss, before any penalty is added to them; once per optimizer step."""

    def before_update(self, progress: Progress, factor: float = 1.0) -> None:  # noqa: B027
        """Act on the gradients, after unscaling and before clipping, with `factor`·λ; once per optimizer step."""

    def decouple(self, steps: StepSizes) -> None:  # noqa: B027
        """Act on the weights that the optimizer is about to move; not called for a step that a gradient scaler skips."""

    def after_update(self, steps: StepSizes) -> None:  # noqa: B027
        """Act on the weights that the optimizer has just moved; not called for a step that a gradient scaler skipped."""

    def terms(self) -> "Sequence[Term]":
        """The penalties in it, each on its weights."""
        return ()

    def value(self) -> Tensor:
        """λR of the weights that train now, 0-dim, for the log."""
        values = [term.factor * term.penalty() for term in self.terms()]
        return torch.stack(values).sum() if values else torch.zeros(())

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs beyond the weights: plain data and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Take back what `state_dict` gave."""


Route = Callable[[Regularizer, Mapping[str, Weight]], Applied]
"""Makes what applies a penalty to weights."""

BLOCK = 1 << 19
"""Elements of a weight that a processor works on at a time, so that intermediate results stay in its cache."""


class Part(NamedTuple):
    """Some output filters of a weight."""

    weight: Weight
    filters: slice

    def view(self, tensor: Tensor) -> Tensor:
        """These filters, along dimension 0, of a tensor of the weight's shape."""
        if tensor.ndim == 0:
            return tensor
        return (tensor.transpose(0, 1) if self.weight.transposed else tensor)[self.filters]

    def values(self) -> Tensor:
        """In full precision, measured from the anchor; a view of the weight where that needs no arithmetic."""
        values = full_precision(self.view(self.weight.tensor))
        return values if self.weight.anchor is None else values - self.view(self.weight.anchor)

    def gradient(self) -> Tensor:
        """A view of the weight's gradient, which must be there."""
        if self.weight.tensor.grad is None:
            raise ValueError("this weight has no gradient")
        return self.view(self.weight.tensor.grad)


class Term(Applied):
    """One penalty on its weights: what wrappers come down to. Subclasses say how it is applied.

    Raises:
        ValueError: if there are no weights to penalize.
    """

    def __init__(self, regularizer: Regularizer, weights: Mapping[str, Weight]) -> None:
        self.weights = {name: weight for name, weight in weights.items() if weight.penalized}
        if not self.weights:
            raise ValueError(f"{regularizer!r} has no weight to act on")
        self.regularizer = regularizer.fixed([Part(weight._replace(anchor=None), slice(None)).values() for weight in self.weights.values()])
        self.factor = 1.0
        self._works: dict[tuple[bool, ...], list[tuple[Regularizer, list[Part]]]] = {}

    def start(self, steps: int) -> None:
        self._settle()

    def before_update(self, progress: Progress, factor: float = 1.0) -> None:
        self.factor = factor

    def terms(self) -> "Sequence[Term]":
        return (self,)

    def penalty(self) -> Tensor:
        """λR of the weights that train now, 0-dim."""
        regularizer, parts = self.whole([weight.tensor.requires_grad for weight in self.weights.values()])
        with torch.no_grad():
            values = [part.values() for part in parts]
            return regularizer.penalty(values) if parts else torch.zeros((), device=next(iter(self.weights.values())).tensor.device)

    def whole(self, chosen: Sequence[bool]) -> tuple[Regularizer, list[Part]]:
        """The weights that are `chosen`, and the penalty on them."""
        index = [position for position, this in enumerate(chosen) if this]
        every = list(self.weights.values())
        regularizer = self.regularizer if all(chosen) else self.regularizer.select(index)
        return regularizer, [Part(every[position], slice(None)) for position in index]

    def works(self) -> list[tuple[Regularizer, list[Part]]]:
        """The weights that have a gradient, in portions to be worked on one after the other, and the penalty on each portion."""
        chosen = tuple(weight.tensor.grad is not None for weight in self.weights.values())
        if chosen not in self._works:
            self._works[chosen] = list(self._portions(chosen))
        return self._works[chosen]

    def state_dict(self) -> dict[str, Any]:
        anchors = {name: weight.anchor for name, weight in self.weights.items() if weight.anchor is not None}
        return {"regularizer": self.regularizer.state(), "anchors": anchors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        device = next(iter(self.weights.values())).tensor.device
        self.regularizer = self.regularizer.with_state(state["regularizer"], device)
        anchors = state["anchors"]
        expected = {name for name, weight in self.weights.items() if weight.anchor is not None}
        if set(anchors) != expected:
            name = sorted(set(anchors) ^ expected)[0]
            raise ValueError(f"the checkpoint's anchors are of other weights ({name}): it was made with another regularizer or network")
        self.weights = {name: weight._replace(anchor=anchors.get(name)) for name, weight in self.weights.items()}
        self._settle()

    def _portions(self, chosen: Sequence[bool]) -> Iterator[tuple[Regularizer, list[Part]]]:
        regularizer, parts = self.whole(chosen)
        if not parts:
            return
        if not regularizer.separable or parts[0].weight.tensor.device.type != "cpu":
            yield regularizer, parts  # a GPU is kept busy by few large operations
            return
        for position, part in enumerate(parts):
            alone = regularizer.select([position])
            filters = len(part.view(part.weight.tensor)) if part.weight.tensor.ndim else 1
            size = max(1, BLOCK * filters // max(1, part.weight.tensor.numel()))
            if size >= filters:
                yield alone, [part]
                continue
            for first in range(0, filters, size):
                yield alone, [part._replace(filters=slice(first, first + size))]

    def _settle(self) -> None:
        """Follow the weights to their device; what was made out of them before is made anew."""
        self._works = {}
        self.weights = {
            name: weight if weight.anchor is None else weight._replace(anchor=weight.anchor.to(weight.tensor))
            for name, weight in self.weights.items()
        }
        self.regularizer = self.regularizer.with_state(self.regularizer.state(), next(iter(self.weights.values())).tensor.device)


class ByGradient(Term):
    """Adds ∇λR to the gradients: the same update as λR in the loss, without its graph, once per optimizer step.

    With gradients accumulated over k batches the loss route divides each batch's penalty by k, and so under-weights the penalty
    in an epoch's last window when that is shorter than k; here it always has its full weight.
    """

    def before_update(self, progress: Progress, factor: float = 1.0) -> None:
        super().before_update(progress, factor)
        if factor == 0:
            return
        with torch.no_grad():
            for regularizer, parts in self.works():
                penalty = regularizer.gradient([part.values() for part in parts])
                torch._foreach_add_([part.gradient() for part in parts], list(penalty), alpha=factor)


def full_precision(weight: Tensor) -> Tensor:
    """The weight's values in float32, or in float64 if it has that."""
    weight = weight.detach()
    return weight if weight.dtype in (torch.float32, torch.float64) else weight.float()


def check_strength(name: str, strength: float) -> None:
    """Refuse a λ that is negative, infinite or not a number."""
    if not (math.isfinite(strength) and strength >= 0):
        raise ValueError(f"{name}: strength must be a finite number, 0 or more; got {strength}")
