"""The step sizes of torch's optimizers, per element under Adam and AdamW."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from seglab.regularizers.applied import View
from seglab.regularizers.weight import Steps, full_precision


class OptimizerStepSizes:
    """Reads learning rates and Adam's second moments from an optimizer."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.group_of = {id(tensor): group for group in optimizer.param_groups for tensor in group["params"]}

    def uniform(self, weights: Sequence[Tensor]) -> list[float]:
        """Return η of each weight."""
        return [float(group["lr"]) for group in self._groups(weights)]

    def preconditioned(self, weights: Sequence[Tensor], views: Sequence[View] | None = None) -> Steps:
        """Return η/(√v̂+ε) of each element under Adam, v̂ being the bias-corrected second moment (Kingma & Ba 2015).

        Under SGD with momentum μ and dampening d, return η(1−d)/(1−μ) of each weight: torch's momentum is a sum of
        gradients, so a gradient moves a weight that far in the end.

        Raises:
            ValueError: the optimizer is of another kind.
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
        if len(size) == 1 and size[0].device.type == "cpu":  # one pass instead of two
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
    """Check that `OptimizerStepSizes` knows the step of each element.

    Raises:
        ValueError: the optimizer is neither SGD nor Adam nor AdamW.
    """
    if not isinstance(optimizer, torch.optim.SGD | torch.optim.Adam):  # AdamW is an Adam
        raise ValueError(
            f"Proximal does not know the step of each element under {type(optimizer).__name__}: use Adam, AdamW or SGD, "
            "or Proximal(..., preconditioned=False) for the learning rate as the step of all"
        )


def _reach(group: dict[str, Any]) -> float:
    """Return how far one gradient moves a weight under SGD in the end, per learning rate."""
    return float((1 - group["dampening"]) / (1 - group["momentum"])) if group["momentum"] else 1.0


def _root_of_correction(step: Tensor, group: dict[str, Any]) -> Any:
    """Return √(1−β₂ᵗ) as a number, or as a 0-dim tensor if the step count is on a GPU.

    The CPU then does not wait for the step count.
    """
    correction = (1.0 - group["betas"][1] ** step) ** 0.5
    return correction if step.is_cuda else float(correction)
