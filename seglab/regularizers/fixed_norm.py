"""Keep weights before a norm layer at their initial norm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seglab.regularizers.applied import Applied, Route, StepSizes
from seglab.regularizers.group_lasso import filters
from seglab.regularizers.regularizer import Regularizer
from seglab.regularizers.weight import Part, Weight


@dataclass(frozen=True)
class FixedNorm(Regularizer):
    """Rescales weights to their initial norm after each update, if a norm layer makes the output scale-invariant.

    Rescales each output filter before a batch norm, and the whole tensor before a group or layer norm. The network's
    function does not change, as long as the norm layers train, and ‖w‖ no longer changes the effective learning rate. A
    comparison of `Sum([L2(λ), FixedNorm()])` with `L2(λ)` therefore shows how much of a penalty's effect comes from the
    learning rate. The penalty itself is 0.

    Raises:
        ValueError: on `bind`, if no weight is known to precede a norm layer, or if a wrapper applies it as a penalty.
    """

    @property
    def acts_last(self) -> bool:
        """True: another regularizer that moves the weights afterwards would change their norm."""
        return True

    @property
    def decays_weights(self) -> bool:
        """False: rescaling is no penalty."""
        return False

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return torch.zeros((), dtype=weights[0].dtype, device=weights[0].device) if weights else torch.zeros(())

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        if route is not None:
            raise ValueError(
                f"{self!r} is no penalty, and cannot be inside of a wrapper that applies one: put it beside, Sum([..., FixedNorm()])"
            )
        found = {name: weight for name, weight in weights.items() if weight.scale_free in ("filter", "tensor")}
        if not found:
            raise ValueError(
                f"{self!r} rescales weights before norm layers, and no weight of this network is known to be one: leave FixedNorm out"
            )
        return _Rescaling(found)


class _Rescaling(Applied):
    """Rescales weights to the norms that they had when the object was made."""

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
    """Return the norm of each filter (G, 1), or of the whole tensor (1, 1)."""
    rows = filters(Part(weight._replace(anchor=None), slice(None)).values())
    each: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return each if weight.scale_free == "filter" else torch.linalg.vector_norm(each).view(1, 1)
