"""Apply several regularizers together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seglab.regularizers.applied import Applied, Route, StepSizes, Term
from seglab.regularizers.regularizer import Regularizer
from seglab.regularizers.weight import Weight
from seglab.stage import Progress


@dataclass(frozen=True)
class Sum(Regularizer):
    """R₁ + R₂ + …, each applied in its own way: `Sum([Proximal(L1(1e-5)), Decoupled(L2(1e-2))])`.

    At most one summand may apply a proximal operator to a weight: two in a row are in general not the proximal operator
    of the sum. Summands that `acts_last` act after the others; otherwise the order is as given.

    Raises:
        ValueError: there is no summand or, on `bind`, two proximal operators act on one weight.
    """

    summands: Sequence[Regularizer]

    def __post_init__(self) -> None:
        if isinstance(self.summands, Regularizer) or not self.summands:
            raise ValueError("Sum: give one regularizer or more, in a list")

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return torch.stack([summand.penalty(weights) for summand in self.summands]).sum()

    def parts(self) -> Sequence[Regularizer]:
        return tuple(self.summands)

    def bind(self, weights: Mapping[str, Weight], route: Route | None = None) -> Applied:
        ordered = sorted(self.summands, key=lambda summand: summand.acts_last)
        together = AppliedSum([summand.bind(weights, route) for summand in ordered])
        proximal = [id(weight.tensor) for term in together.terms() if term.by_prox for weight in term.weights.values()]
        if len(proximal) != len(set(proximal)):
            raise ValueError(
                f"{self!r}: proximal operators in a row are in general not the proximal operator of a sum. Keep one Proximal and apply the others by "
                "their gradients; for L1 and L2 together there is Proximal(ElasticNet(l1, l2))"
            )
        return together


class AppliedSum(Applied):
    """Applies several regularizers at each moment of a step: first all act on gradients, then all on weights."""

    def __init__(self, members: Sequence[Applied]) -> None:
        self.members = list(members)

    def start(self, steps: int) -> None:
        for member in self.members:
            member.start(steps)

    def observe(self, progress: Progress) -> None:
        for member in self.members:
            member.observe(progress)

    def before_update(self, progress: Progress, factor: float = 1.0) -> None:
        for member in self.members:
            member.before_update(progress, factor)

    def decouple(self, steps: StepSizes) -> None:
        for member in self.members:
            member.decouple(steps)

    def after_update(self, steps: StepSizes) -> None:
        for member in self.members:
            member.after_update(steps)

    def terms(self) -> Sequence[Term]:
        return [term for member in self.members for term in member.terms()]

    def state_dict(self) -> dict[str, Any]:
        return {str(place): member.state_dict() for place, member in enumerate(self.members)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for place, member in enumerate(self.members):
            member.load_state_dict(state[str(place)])
