"""A weight penalty of one's own: what a stage's weights cost. Its gradient comes from autograd."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seglab import Regularizer


@dataclass(frozen=True)
class Cauchy(Regularizer):
    strength: float
    scale: float

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return self.strength * torch.stack([(w / self.scale).square().log1p().sum() for w in weights]).sum()
