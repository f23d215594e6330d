"""The objects that apply a bound regularizer. A training step calls only these.

`Regularizer.bind` makes them. `Applied` has one method for each moment of a step at which a regularizer may act; `Term`
is one penalty on its weights, and its subclasses say how the penalty is applied.
"""

from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from seglab.regularizers.penalty import Penalty
from seglab.regularizers.weight import Part, Steps, Weight
from seglab.stage import Progress

BLOCK = 1 << 19
"""Number of elements of a weight that a CPU processes at a time, so that intermediate results stay in its cache."""

View = Callable[[Tensor], Tensor]
"""Returns a view of a part of a tensor."""


class StepSizes(Protocol):
    """The step sizes of the optimizer. Decoupled decay and proximal operators scale their effect with them."""

    def uniform(self, weights: Sequence[Tensor]) -> list[float]:
        """Return the learning rate of each weight."""

    def preconditioned(self, weights: Sequence[Tensor], views: Sequence[View] | None = None) -> Steps:
        """Return the step size of each element under Adam and AdamW, and one number per weight under SGD.

        Args:
            weights: the parameters themselves.
            views: the part of each weight whose step sizes are returned; None returns all.
        """


class Applied(ABC):  # noqa: B024 - a subclass acts at some of four moments, none of which is mandatory
    """A regularizer that is bound to the weights of one network.

    The training step calls its methods, in the order given here.

    A regularizer acts only on weights that have a gradient: a frozen stage is neither changed nor counted.
    """

    def start(self, steps: int) -> None:  # noqa: B027 - these methods do nothing by default
        """Prepare for a training of `steps` optimizer steps. The weights are on their device."""

    def observe(self, progress: Progress) -> None:  # noqa: B027
        """Read the gradients of the data loss, before a penalty is added to them. Called once per optimizer step."""

    def before_update(self, progress: Progress, factor: float = 1.0) -> None:  # noqa: B027
        """Act on the gradients with strength `factor`·λ, after unscaling and before clipping.

        Called once per optimizer step.
        """

    def decouple(self, steps: StepSizes) -> None:  # noqa: B027
        """Act on the weights before the optimizer's update. Not called for a step that a gradient scaler skips."""

    def after_update(self, steps: StepSizes) -> None:  # noqa: B027
        """Act on the weights after the optimizer's update. Not called for a step that a gradient scaler skips."""

    def terms(self) -> "Sequence[Term]":
        """Return the penalties, each bound to its weights."""
        return ()

    def value(self) -> Tensor:
        """Return λR of the weights that train now, 0-dim, for the log."""
        values = [term.factor * term.penalty() for term in self.terms()]
        return torch.stack(values).sum() if values else torch.zeros(())

    def state_dict(self) -> dict[str, Any]:
        """Return, as plain data and tensors, what a resumed training needs in addition to the weights."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Restore the result of `state_dict`."""


Route = Callable[[Penalty, Mapping[str, Weight]], Applied]
"""Makes the object that applies a penalty to weights."""


class Term(Applied):
    """One penalty, bound to its weights. Subclasses say how the penalty is applied.

    Args:
        regularizer: the penalty.
        weights: parameters by name; those that are not `penalized` are ignored.

    Raises:
        ValueError: there are no weights to penalize.
    """

    by_prox: ClassVar[bool] = False
    """True if the penalty is applied by its proximal operator; only one such term may act on a weight."""

    def __init__(self, regularizer: Penalty, weights: Mapping[str, Weight]) -> None:
        self.weights = {name: weight for name, weight in weights.items() if weight.penalized}
        if not self.weights:
            raise ValueError(f"{regularizer!r} has no weight to act on")
        self.regularizer = regularizer.fixed([Part(weight._replace(anchor=None), slice(None)).values() for weight in self.weights.values()])
        self.factor = 1.0
        self._works: dict[tuple[bool, ...], list[tuple[Penalty, list[Part]]]] = {}

    def start(self, steps: int) -> None:
        self._settle()

    def before_update(self, progress: Progress, factor: float = 1.0) -> None:
        self.factor = factor

    def terms(self) -> "Sequence[Term]":
        return (self,)

    def penalty(self) -> Tensor:
        """Return λR of the weights that train now, 0-dim."""
        regularizer, parts = self.whole([weight.tensor.requires_grad for weight in self.weights.values()])
        with torch.no_grad():
            values = [part.values() for part in parts]
            return regularizer.penalty(values) if parts else torch.zeros((), device=next(iter(self.weights.values())).tensor.device)

    def whole(self, chosen: Sequence[bool]) -> tuple[Penalty, list[Part]]:
        """Return the penalty of some of the weights, and these weights.

        Args:
            chosen: for each weight of the term, whether it is among them.
        """
        index = [position for position, this in enumerate(chosen) if this]
        every = list(self.weights.values())
        regularizer = self.regularizer if all(chosen) else self.regularizer.select(index)
        return regularizer, [Part(every[position], slice(None)) for position in index]

    def works(self) -> list[tuple[Penalty, list[Part]]]:
        """Return the weights that have a gradient as portions that are processed in turn, each with its penalty."""
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
            raise ValueError(
                f"the checkpoint has anchors for other weights than this training ({name} is in one of the two alone): it was made with "
                "another regularizer or network; resume it with its own"
            )
        self.weights = {name: weight._replace(anchor=anchors.get(name)) for name, weight in self.weights.items()}
        self._settle()

    def _portions(self, chosen: Sequence[bool]) -> Iterator[tuple[Penalty, list[Part]]]:
        regularizer, parts = self.whole(chosen)
        if not parts:
            return
        if not regularizer.separable or parts[0].weight.tensor.device.type != "cpu":
            yield regularizer, parts  # a few large operations are fastest on a GPU
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
        """Move anchors and penalty state to the weights' device, and drop portions that refer to earlier tensors."""
        self._works = {}
        self.weights = {
            name: weight if weight.anchor is None else weight._replace(anchor=weight.anchor.to(weight.tensor))
            for name, weight in self.weights.items()
        }
        self.regularizer = self.regularizer.with_state(self.regularizer.state(), next(iter(self.weights.values())).tensor.device)


class ByGradient(Term):
    """Adds ∇λR to the gradients once per optimizer step: the same update as λR in the loss, without a graph.

    If gradients are accumulated over k batches, a penalty in the loss is divided by k in each batch. It then counts too
    little in the last window of an epoch, if that window is shorter than k. Here the penalty always has its full
    weight.
    """

    def before_update(self, progress: Progress, factor: float = 1.0) -> None:
        super().before_update(progress, factor)
        if factor == 0:
            return
        with torch.no_grad():
            for regularizer, parts in self.works():
                penalty = gradient_of(regularizer, parts)
                torch._foreach_add_([part.gradient() for part in parts], penalty, alpha=factor)


def gradient_of(regularizer: Penalty, parts: Sequence[Part]) -> list[Tensor]:
    """Return ∇λR of some weights.

    Raises:
        ValueError: the penalty's `gradient` does not return one tensor per weight, of the weight's shape. Torch would
            broadcast a tensor of another shape.
    """
    values = [part.values() for part in parts]
    found: Any = regularizer.gradient(values)
    gradients = [] if found is None else list(found)
    if [getattr(gradient, "shape", None) for gradient in gradients] != [value.shape for value in values]:
        raise ValueError(f"{type(regularizer).__name__}.gradient: expected a list of one tensor per weight, of the weight's shape")
    return gradients
