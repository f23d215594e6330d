"""Weights before a norm layer, held at the norm they started with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seglab.regularizers.base import Applied, Part, Regularizer, Route, StepSizes, Weight
from seglab.regularizers.group_lasso import filters


@dataclass(frozen=True)
class FixedNorm(Regularizer):
    """Rescales weights to their initial norm after each update where a norm layer makes the output independent of their scale.

    Each output filter before a batch norm, the tensor as a whole before a group or layer norm. The function stays what it was (as
    long as the norm layers train), and the effective learning rate stays free of what a penalty does to ‖w‖: with
    `Sum([L2(λ), FixedNorm()])` beside `L2(λ)` one sees which part of the effect is the learning rate's. It adds no penalty.
    """

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return torch.zeros((), dtype=weights[0].dtype, device=weights[0].device) if weights else torch.zeros(())

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        if route is not None:
            raise ValueError(f"{self!r} is no penalty that could be applied in another way: put it beside, Sum([..., FixedNorm()])")
        found = {name: weight for name, weight in weights.items() if weight.scale_free in ("filter", "tensor")}
        if not found:
            raise ValueError(f"{self!r}: no weight of this network is known to be followed by a norm layer, so there is nothing to rescale")
        return _Rescaling(found)


class _Rescaling(Applied):
    def __init__(self, weights: Mapping[str, Weight]) -> None:
        self.weights = dict(weights)
        self.norms = {name: _norm(weight) for name, weight in weights.items()}

    def start(self, steps: int) -> None:
        self.norms = {name: norm.to(self.weights[name].tensor.device) for name, norm in self.norms.items()}

    def after_update(self, steps: StepSizes) -> None:
        with torch.no_grad():
            for name, weight in self.weights.items():
                if weight.tensor.grad is not None:
                    now = _norm(weight)
                    factor = (self.norms[name] / now).where(now > 0, 1)
                    view = Part(weight, slice(None)).view(weight.tensor)
                    view.mul_(factor.view(-1, *[1] * (view.ndim - 1)))

    def state_dict(self) -> dict[str, Any]:
        return {"norms": self.norms}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.norms = dict(state["norms"])
        self.start(0)


def _norm(weight: Weight) -> Tensor:
    """Of each filter (G, 1), or of the tensor (1, 1)."""
    rows = filters(Part(weight._replace(anchor=None), slice(None)).values())
    each: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return each if weight.scale_free == "filter" else torch.linalg.vector_norm(each).view(1, 1)
