"""A sparsity penalty that does not depend on the scale of the weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seglab.regularizers.penalties import total
from seglab.regularizers.penalty import check_strength
from seglab.regularizers.regularizer import Regularizer


@dataclass(frozen=True)
class HoyerSquare(Regularizer):
    """λΣ_l (Σ|w|)²/Σw² over weight tensors l (Yang et al. 2020, DeepHoyer, arXiv:1908.09979); 0 for a tensor of zeros.

    For one tensor the ratio is 1 if a single weight is not zero, and the number of weights if all have one magnitude.
    It is the same for 2w and w, so that batch norm cannot undo the penalty. The gradient is 2λρ(sign(w) − ρw), ρ =
    Σ|w|/Σw²: a step against it makes small weights smaller and large weights larger.

    Raises:
        ValueError: `strength` is not a finite number, 0 or more.
    """

    strength: float

    def __post_init__(self) -> None:
        check_strength("HoyerSquare", self.strength)

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return self.strength * total([weight.abs().sum() * _ratio(weight) for weight in weights])

    def gradient(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        ratios = [_ratio(weight) for weight in weights]
        return [2 * self.strength * ratio * (weight.sign() - ratio * weight) for weight, ratio in zip(weights, ratios, strict=True)]


def _ratio(weight: Tensor) -> Tensor:
    """Return Σ|w|/Σw², 0-dim; 0 if all weights are zero."""
    squares = weight.square().sum()
    return weight.abs().sum() / squares.where(squares > 0, torch.inf)
