"""The step sizes of torch's optimizers, element by element where they have them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from seglab.regularizers.base import Steps, View, full_precision


class OptimizerStepSizes:
    """Reads the learning rate, and Adam's second moment, of each weight of an optimizer."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.group_of = {id(tensor): group for group in optimizer.param_groups for tensor in group["params"]}

    def uniform(self, weights: Sequence[Tensor]) -> list[float]:
        """η of each weight."""
        return [float(group["lr"]) for group in self._groups(weights)]

    def preconditioned(self, weights: Sequence[Tensor], views: Sequence[View] | None = None) -> Steps:
        """η/(√v̂+ε) of each element, v̂ the bias-corrected second moment (Kingma & Ba 2015); ValueError under others than Adam and SGD.

        η/(1−μ) under SGD with momentum μ, which is how far a gradient moves a weight in the end, torch's momentum being a sum of
        gradients and no mean (dampening d makes it η(1−d)/(1−μ)).
        """
        if isinstance(self.optimizer, torch.optim.SGD):
            return [float(group["lr"]) * _reach(group) for group in self._groups(weights)]
        check_preconditioner(self.optimizer)
        groups = self._groups(weights)
        states = [self.optimizer.state[weight] for weight in weights]
        moments = [
            full_precision(state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"])
            for state, group in zip(states, groups, strict=True)
        ]
        if views is not None:
            moments = [view(moment) for view, moment in zip(views, moments, strict=True)]
        roots = [_root_of_correction(state["step"], group) for state, group in zip(states, groups, strict=True)]
        size = torch._foreach_sqrt(moments)  # η/(√v/c + ε) = ηc/(√v + εc), c = √(1−β₂ᵗ)
        torch._foreach_add_(size, [root * group["eps"] for root, group in zip(roots, groups, strict=True)])
        rates = [root * group["lr"] for root, group in zip(roots, groups, strict=True)]
        if len(size) == 1 and size[0].device.type == "cpu":  # one pass in the place of two
            return [torch.div(torch.as_tensor(rates[0], dtype=size[0].dtype), size[0], out=size[0])]
        torch._foreach_reciprocal_(size)
        torch._foreach_mul_(size, rates)
        return size

    def _groups(self, weights: Sequence[Tensor]) -> list[dict[str, Any]]:
        missing = [tuple(weight.shape) for weight in weights if id(weight) not in self.group_of]
        if missing:
            raise ValueError(
                f"a penalized weight of shape {missing[0]} is in no parameter group of {type(self.optimizer).__name__}, so it has no "
                "learning rate; keep SegmentationModule.configure_optimizers, or leave the weight out of the penalty"
            )
        return [self.group_of[id(weight)] for weight in weights]


def check_preconditioner(optimizer: Optimizer) -> None:
    """A ValueError for an optimizer whose step of each element is not known here."""
    if not isinstance(optimizer, torch.optim.SGD | torch.optim.Adam):
        raise ValueError(
            f"Proximal does not know the step of each element under {type(optimizer).__name__}: use Adam, AdamW or SGD, "
            "or Proximal(..., preconditioned=False) for the learning rate as the step of all"
        )


def _reach(group: dict[str, Any]) -> float:
    """How far SGD moves a weight in all per learning rate and gradient."""
    return float((1 - group["dampening"]) / (1 - group["momentum"])) if group["momentum"] else 1.0


def _root_of_correction(step: Tensor, group: dict[str, Any]) -> Any:
    """√(1−β₂ᵗ); a number, or a 0-dim tensor where the step count lives on a device, which must not be waited for."""
    correction = (1.0 - group["betas"][1] ** step) ** 0.5
    return correction if step.is_cuda else float(correction)
