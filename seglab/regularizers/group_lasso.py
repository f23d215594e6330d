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
        pieces: dict[object, tuple[list[Tensor], list[Tensor]]] = {}
        for weight, size in zip(weights, list[Tensor | float](step), strict=True):
            rows, threshold = filters(weight), self._factor(weight) * size
            if isinstance(threshold, Tensor) and threshold.ndim:
                # a GPU takes longer to be told of many small pieces of work than to do them; a processor's cache holds only small ones
                piece = (rows.shape[1], rows.device, rows.dtype) if rows.is_cuda else len(pieces)
                alike, thresholds = pieces.setdefault(piece, ([], []))
                alike.append(weight)
                thresholds.append(filters(threshold))
            else:
                weight.copy_((rows * _kept_of_all(rows, threshold)).view_as(weight))
        for alike, thresholds in pieces.values():
            shrink(alike, thresholds)

    def _factor(self, weight: Tensor) -> float:
        """λ√|g|."""
        return self.strength * math.sqrt(weight.numel() / len(weight)) if weight.ndim and len(weight) else self.strength


def shrink(weights: Sequence[Tensor], thresholds: Sequence[Tensor]) -> None:
    """The prox of weights whose filters are of one length, each element having its own threshold: rows (G, |g|) for each weight."""
    rows = torch.cat([filters(weight) for weight in weights])
    shrunk = rows * _kept_of_each(rows, torch.cat(list(thresholds)))
    for weight, part in zip(weights, torch.split(shrunk, [len(threshold) for threshold in thresholds]), strict=True):
        weight.copy_(part.view_as(weight))


def filters(weight: Tensor) -> Tensor:
    """The output filters as rows (G, |g|)."""
    return weight.reshape(len(weight), -1) if weight.ndim else weight.reshape(1, 1)


def _kept_of_all(rows: Tensor, threshold: Tensor | float) -> Tensor:
    """What the prox leaves of each filter (G, 1), if all elements have one threshold."""
    norm: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return (1 - threshold / norm).clamp_min(0).where(norm > 0, 0)


def _kept_of_each(rows: Tensor, threshold: Tensor) -> Tensor:
    """What the prox leaves of each element (G, |g|), each having its own threshold."""
    tiny = torch.finfo(rows.dtype).tiny
    threshold = threshold.clamp_min(tiny)
    alive = (rows / threshold).square().sum(1, keepdim=True) > 1
    norm = _lower_bound(rows, threshold)
    for _ in range(ROOT_STEPS):
        inverse = (norm + threshold).reciprocal_()
        shares = (rows * inverse).square_()
        squared = shares.sum(1, keepdim=True)
        slope = shares.mul_(inverse).sum(1, keepdim=True)
        norm = norm + (squared.sqrt() - 1) * squared / slope.clamp_min(tiny)
    return (norm / (norm + threshold)).where(alive, 0)


def _lower_bound(rows: Tensor, threshold: Tensor) -> Tensor:
    """Of the norm (G, 1) that a filter will have: ‖v‖ − Σv²a/Σv², by Jensen's inequality, or what its largest element alone will be."""
    norm: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    shares = (rows / norm.clamp_min(torch.finfo(rows.dtype).tiny)).square_()
    mean = (shares * threshold).sum(1, keepdim=True)
    return torch.maximum(norm - mean, (rows.abs() - threshold).amax(1, keepdim=True)).clamp_min_(0)
