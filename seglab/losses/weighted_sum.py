"""Several losses as one."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightedSum(nn.Module):
    """Σ_k weight_k · loss_k(logits, mask) over named losses.

    After a forward `terms` holds each loss by its name: 0-dim, detached, before its weight, and still on the device, so that
    reading it costs a synchronisation only where the number is printed.

    Args:
        losses: at least one loss, by a name without a dot.
        weights: one number ≥ 0 for each of these names.

    Raises:
        ValueError: if there is no loss, the names differ, a name is no name for a module, or a weight is negative or not finite.

    >>> from seglab.losses import CrossEntropy, Dice
    >>> loss = WeightedSum({"ce": CrossEntropy(), "dice": Dice()}, {"ce": 1.0, "dice": 0.5})
    >>> loss(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]))
    tensor(0.9431)
    >>> loss.terms
    {'ce': tensor(0.6931), 'dice': tensor(0.5000)}
    """

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float]) -> None:
        super().__init__()
        if not losses:
            raise ValueError("losses is empty: name at least one")
        if set(losses) != set(weights):
            raise ValueError(f"losses and weights must have the same names, got {sorted(losses)} and {sorted(weights)}")
        wrong = {name: weight for name, weight in weights.items() if not 0 <= weight < math.inf}
        if wrong:
            raise ValueError(f"weights must be finite numbers ≥ 0, got {wrong}")
        self.losses = _named(losses)
        self.weights = {name: float(weights[name]) for name in losses}
        self.terms: dict[str, Tensor] = {}

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Pass logits (N,C,H,W) and mask (N,H,W) int64 to each loss: 0-dim float32."""
        values = {name: loss(logits, mask) for name, loss in self.losses.items()}
        self.terms = {name: value.detach() for name, value in values.items()}
        return torch.stack([self.weights[name] * value.float() for name, value in values.items()]).sum()

    def extra_repr(self) -> str:
        return f"weights={self.weights}"


def _named(losses: Mapping[str, nn.Module]) -> nn.ModuleDict:
    try:
        return nn.ModuleDict(dict(losses))
    except KeyError as error:
        raise ValueError(f"a loss needs another name: {error.args[0]}") from None
