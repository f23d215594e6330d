"""A sparsity penalty that does not care how large the weights are."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seglab.regularizers.base import Regularizer, check_strength
from seglab.regularizers.penalties import total


@dataclass(frozen=True)
class HoyerSquare(Regularizer):
    """λΣ_l (Σ|w|)²/Σw² over weight tensors l (Yang et al. 2020, DeepHoyer); 0 for a tensor of zeros.

    Between 1, for a single weight that is not zero, and the number of weights, for weights of one size; the same for 2w as for w, so
    that batch norm cannot undo it. Gradient 2λρ(sign(w) − ρw), ρ = Σ|w|/Σw²: it moves large weights up and small ones down.
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
    """Σ|w|/Σw², 0-dim; 0 where all is zero."""
    squares = weight.square().sum()
    return weight.abs().sum() / squares.where(squares > 0, torch.inf)
