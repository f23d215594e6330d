"""Filters that have unit length and right angles between them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seglab.regularizers.base import Regularizer, check_strength
from seglab.regularizers.group_lasso import filters
from seglab.regularizers.penalties import total


@dataclass(frozen=True)
class Orthogonality(Regularizer):
    """λΣ_l ‖WᵀW − I‖²_F over weight tensors l, the columns of W (|g|, G) being output filters (Bansal et al. 2018, soft orthogonality).

    More filters than weights in a filter cannot all be orthogonal: then the rows are, WWᵀ in the place of WᵀW, which differs by a
    constant (G − |g|) and has the same gradient, 4λW(WᵀW − I). One matrix product of each tensor with its Gram matrix a step.
    """

    strength: float

    def __post_init__(self) -> None:
        check_strength("Orthogonality", self.strength)

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return self.strength * total([_defect(filters(weight)).square().sum() for weight in weights])

    def gradient(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        found = []
        for weight in weights:
            rows = filters(weight)
            defect = _defect(rows)
            product = defect @ rows if len(defect) == len(rows) else rows @ defect
            found.append((4 * self.strength * product).view_as(weight))
        return found


def _defect(rows: Tensor) -> Tensor:
    """The smaller of the two Gram matrices of `rows` (G, |g|), less the identity."""
    count, length = rows.shape
    gram = rows @ rows.T if count <= length else rows.T @ rows
    return gram - torch.eye(len(gram), dtype=rows.dtype, device=rows.device)
