"""Penalize the distance of filters from an orthonormal set."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seglab.regularizers.group_lasso import filters
from seglab.regularizers.penalties import total
from seglab.regularizers.penalty import check_strength
from seglab.regularizers.regularizer import Regularizer


@dataclass(frozen=True)
class Orthogonality(Regularizer):
    """λΣ_l ‖WᵀW − I‖²_F over weight tensors l, the columns of W (|g|, G) being output filters (Bansal et al. 2018, soft
    orthogonality).

    If a tensor has more filters than a filter has weights, the filters cannot all be orthogonal. WWᵀ then takes the
    place of WᵀW, which changes the value by the constant G − |g| and leaves the gradient, 4λW(WᵀW − I). A step costs
    one matrix product of each tensor with its Gram matrix.

    Raises:
        ValueError: `strength` is not a finite number, 0 or more.
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
    """Return the smaller of the two Gram matrices of `rows` (G, |g|), minus the identity."""
    count, length = rows.shape
    gram = rows @ rows.T if count <= length else rows.T @ rows
    return gram - torch.eye(len(gram), dtype=rows.dtype, device=rows.device)
