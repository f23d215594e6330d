"""The group lasso over output filters, which makes whole filters zero, so that they can be pruned."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seglab.regularizers.penalties import total
from seglab.regularizers.penalty import check_strength
from seglab.regularizers.regularizer import Regularizer
from seglab.regularizers.weight import Steps

ROOT_STEPS = 8
"""Number of Newton steps for a filter's norm. From the lower bound they converge quadratically; one is enough for equal
step sizes.
"""


@dataclass(frozen=True)
class GroupLasso(Regularizer):
    """λΣ_g √|g|·‖w_g‖, a group g being an output filter of |g| weights (Yuan & Lin 2006).

    Wen et al. 2016 (arXiv:1608.03665), who apply the penalty to convolutions, leave out √|g|, and so does the L2,1 norm
    of pyproximal. If all filters have 64×3×3 weights, λ here equals 24λ there. If their lengths differ, the penalties
    differ: of two filters with the same norm, one of 81 weights costs three times as much here as one of 9 weights, and
    the same there.

    The gradient is λ√|g|·w_g/‖w_g‖, and 0 at 0; the prox is max(0, 1−τ√|g|/‖v_g‖)·v_g. If the elements of a filter have
    different step sizes, as under Adam, the prox has no closed form. It is w_i = v_i·s/(s+a_i), with a_i = t_iλ√|g| and
    s = ‖w‖ the root of Σ(v_i/(s+a_i))² = 1, and 0 if Σ(v_i/a_i)² ≤ 1.

    Raises:
        ValueError: `strength` is not a finite number, 0 or more.
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
                # on a GPU, launching many small kernels takes longer than computing; on a CPU, only small pieces fit
                # the cache
                piece = (rows.shape[1], rows.device, rows.dtype) if rows.is_cuda else len(pieces)
                alike, thresholds = pieces.setdefault(piece, ([], []))
                alike.append(weight)
                thresholds.append(filters(threshold))
            else:
                weight.copy_((rows * _kept_of_all(rows, threshold)).view_as(weight))
        for alike, thresholds in pieces.values():
            shrink(alike, thresholds)

    def _factor(self, weight: Tensor) -> float:
        """Return λ√|g|."""
        return self.strength * math.sqrt(weight.numel() / len(weight)) if weight.ndim and len(weight) else self.strength


def shrink(weights: Sequence[Tensor], thresholds: Sequence[Tensor]) -> None:
    """Apply the prox, in place, to weights whose filters have one length.

    Args:
        weights: tensors of any shape, output filters along dimension 0.
        thresholds: for each weight the thresholds a of its elements, as rows (G, |g|).
    """
    rows = torch.cat([filters(weight) for weight in weights])
    shrunk = rows * _kept_of_each(rows, torch.cat(list(thresholds)))
    for weight, part in zip(weights, torch.split(shrunk, [len(threshold) for threshold in thresholds]), strict=True):
        weight.copy_(part.view_as(weight))


def filters(weight: Tensor) -> Tensor:
    """Return the output filters of a weight as rows (G, |g|)."""
    return weight.reshape(len(weight), -1) if weight.ndim else weight.reshape(1, 1)


def _kept_of_all(rows: Tensor, threshold: Tensor | float) -> Tensor:
    """Return the factor (G, 1) by which the prox scales each filter, if all elements have one threshold."""
    norm: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return (1 - threshold / norm).clamp_min(0).where(norm > 0, 0)


def _kept_of_each(rows: Tensor, threshold: Tensor) -> Tensor:
    """Return the factor (G, |g|) by which the prox scales each element, if each has its own threshold."""
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
    """Return a lower bound (G, 1) of the norm of each filter after the prox.

    It is the larger of ‖v‖ − Σv²a/Σv², by Jensen's inequality, and the largest element after the prox.
    """
    norm: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    shares = (rows / norm.clamp_min(torch.finfo(rows.dtype).tiny)).square_()
    mean = (shares * threshold).sum(1, keepdim=True)
    return torch.maximum(norm - mean, (rows.abs() - threshold).amax(1, keepdim=True)).clamp_min_(0)
