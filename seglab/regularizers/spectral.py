"""Penalize the largest singular value of each weight matrix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seglab.regularizers.group_lasso import filters
from seglab.regularizers.penalties import total
from seglab.regularizers.penalty import check_strength
from seglab.regularizers.regularizer import Regularizer

FIRST_ITERATIONS = 30


@dataclass(frozen=True)
class Spectral(Regularizer):
    """½λΣ_l σ₁(W_l)² over weight tensors l, W (G, |g|) having the output filters as rows (Yoshida & Miyato 2017).

    σ₁ is that of the matrix W, as in `torch.nn.utils.spectral_norm`, not that of the convolution, which depends on the
    image's size.

    `penalty` of this class is exact, by singular value decomposition. A training uses an estimate of the leading
    singular vectors u and v, which one power iteration per step improves, and the gradient λσ₁uvᵀ.

    Raises:
        ValueError: `strength` is not a finite number, 0 or more.
    """

    strength: float

    def __post_init__(self) -> None:
        check_strength("Spectral", self.strength)

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return 0.5 * self.strength * total([torch.linalg.matrix_norm(filters(weight), ord=2).square() for weight in weights])

    def fixed(self, weights: Sequence[Tensor]) -> "PowerIteration":
        generator = torch.Generator().manual_seed(0)  # its own generator, so that the penalty does not change other random draws
        with torch.no_grad():
            left = [torch.randn(len(filters(weight)), generator=generator).to(weight) for weight in weights]
            found = PowerIteration(self.strength, tuple(left))
            for _ in range(FIRST_ITERATIONS):
                found.gradient(weights)
        return found


@dataclass(frozen=True)
class PowerIteration(Regularizer):
    """`Spectral` with an estimate of the left singular vector u (G,) of each weight.

    Each call of `gradient` improves the estimate in place.
    """

    strength: float
    left: tuple[Tensor, ...]

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        """Return ½λΣ‖Wᵀu‖², a lower bound of the exact penalty."""
        parts = [(filters(weight).T @ left.to(weight.dtype)).square().sum() for weight, left in zip(weights, self.left, strict=True)]
        return 0.5 * self.strength * total(parts)

    def gradient(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        found = []
        for weight, left in zip(weights, self.left, strict=True):
            rows = filters(weight)
            right = _unit(rows.T @ left.to(rows.dtype))
            image = rows @ right  # σu
            left.copy_(_unit(image).where(image.any(), left))  # all weights are 0: keep the old direction for later
            found.append((self.strength * torch.outer(image, right)).view_as(weight))
        return found

    def select(self, index: Sequence[int]) -> "PowerIteration":
        return PowerIteration(self.strength, tuple(self.left[position] for position in index))

    def state(self) -> dict[str, Any]:
        return {"left": list(self.left)}

    def with_state(self, state: Mapping[str, Any], device: torch.device) -> "PowerIteration":
        return PowerIteration(self.strength, tuple(left.to(device) for left in state["left"]))


def _unit(vector: Tensor) -> Tensor:
    """Scale a vector to length 1; a vector of zeros stays as it is."""
    norm: Tensor = torch.linalg.vector_norm(vector)
    return vector / norm.where(norm > 0, 1)
