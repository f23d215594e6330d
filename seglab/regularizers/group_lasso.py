"""The group lasso over output filters: what makes whole filters zero, so that a smaller network can take the place of the trained one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seglab.regularizers.base import Regularizer, Steps, check_strength
from seglab.regularizers.penalties import total

ROOT_STEPS = 8
"""Newton steps for a filter's norm; from its lower bound it converges quadratically, and in one step where all elements step alike."""


@dataclass(frozen=True)
class GroupLasso(Regularizer):
    """λΣ_g √|g|·‖w_g‖, a group being an output filter of |g| weights (Yuan & Lin 2006; for convolutions Wen et al. 2016).

    Gradient λ√|g|·w_g/‖w_g‖, 0 at 0; prox max(0, 1−τ√|g|/‖v_g‖)·v_g. Where the elements of a filter step differently, as under
    Adam, the prox has no closed form: it is w_i = v_i·s/(s+a_i), a_i = t_iλ√|g|, with s = ‖w‖ the root of Σ(v_i/(s+a_i))² = 1, and 0
    where Σ(v_i/a_i)² ≤ 1.
    """

    strength: float
    separable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_strength("GroupLasso", self.strength)

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return total([self._factor(weight) * torch.linalg.vector_norm(filters(weight), dim=1).sum() for weight in weights])

    def gradient(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        found = []
        for weight in weights:
            rows = filters(weight)
            norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
            found.append((rows * (self._factor(weight) / norm).where(norm > 0, 0)).view_as(weight))
        return found

    def prox(self, weights: Sequence[Tensor], step: Steps) -> None:
        for weight, size in zip(weights, list[Tensor | float](step), strict=True):
            rows, factor = filters(weight), self._factor(weight)
            kept = _kept_of_each(rows, factor * filters(size)) if isinstance(size, Tensor) else _kept_of_all(rows, factor * float(size))
            weight.copy_((rows * kept).view_as(weight))

    def _factor(self, weight: Tensor) -> float:
        """λ√|g|."""
        return self.strength * math.sqrt(weight.numel() / len(weight)) if weight.ndim and len(weight) else self.strength


def filters(weight: Tensor) -> Tensor:
    """The output filters as rows (G, |g|)."""
    return weight.reshape(len(weight), -1) if weight.ndim else weight.reshape(1, 1)


def _kept_of_all(rows: Tensor, threshold: float) -> Tensor:
    """What the prox leaves of each filter (G, 1), if all elements have one threshold."""
    norm: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return (1 - threshold / norm).clamp_min(0).where(norm > 0, 0)


def _kept_of_each(rows: Tensor, threshold: Tensor) -> Tensor:
    """What the prox leaves of each element (G, |g|), each having its own threshold."""
    threshold = threshold.clamp_min(torch.finfo(rows.dtype).tiny)
    alive = (rows / threshold).square().sum(1, keepdim=True) > 1
    norm: Tensor = (torch.linalg.vector_norm(rows, dim=1, keepdim=True) - threshold.amax(1, keepdim=True)).clamp_min(0)
    for _ in range(ROOT_STEPS):
        shares = rows / (norm + threshold)
        size = torch.linalg.vector_norm(shares, dim=1, keepdim=True)
        slope = (shares.square() / (norm + threshold)).sum(1, keepdim=True)
        norm = norm + ((size - 1) * size.square() / slope).where(alive & (slope > 0), 0)
    return (norm / (norm + threshold)).where(alive, 0)
