"""The element-wise penalties. In their formulas t is a step size, τ = tλ and S(v,τ) = sign(v)·max(|v|−τ, 0)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from seglab.regularizers.penalty import check_strength
from seglab.regularizers.regularizer import Regularizer
from seglab.regularizers.weight import Steps


@dataclass(frozen=True)
class L1(Regularizer):
    """λΣ|w|, with gradient λ·sign(w) and prox S(v,τ) (Tibshirani 1996, the lasso).

    Applied by its gradient, it makes weights small but never exactly zero; `Proximal(L1(λ))` makes them exactly zero.

    Raises:
        ValueError: `strength` is not a finite number, 0 or more.
    """

    strength: float
    separable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_strength("L1", self.strength)

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return self.strength * total([weight.abs().sum() for weight in weights])

    def gradient(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        return torch._foreach_mul(torch._foreach_sign(list(weights)), self.strength)

    def prox(self, weights: Sequence[Tensor], step: Steps) -> None:
        soft_threshold(weights, scaled(step, self.strength))


@dataclass(frozen=True)
class L2(Regularizer):
    """½λΣw², with gradient λw and prox v/(1+τ).

    Because of the ½, the gradient equals the gradient of SGD's `weight_decay=λ`; Keras' L2 has no ½, and its λ is half
    of this one. Under Adam the penalty differs from decoupled weight decay, because the second moment divides the
    penalty's gradient (Loshchilov & Hutter 2019).

    Raises:
        ValueError: `strength` is not a finite number, 0 or more.
    """

    strength: float
    separable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_strength("L2", self.strength)

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return 0.5 * self.strength * total([weight.square().sum() for weight in weights])

    def gradient(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        return torch._foreach_mul(list(weights), self.strength)

    def prox(self, weights: Sequence[Tensor], step: Steps) -> None:
        shrink(weights, scaled(step, self.strength))


@dataclass(frozen=True)
class ElasticNet(Regularizer):
    """λ₁Σ|w| + ½λ₂Σw², with gradient λ₁·sign(w) + λ₂w and prox S(v,tλ₁)/(1+tλ₂) (Zou & Hastie 2005).

    Zou & Hastie have no ½. scikit-learn's `ElasticNet(alpha, l1_ratio)` is this penalty with λ₁ = α·l1_ratio and λ₂ =
    α(1 − l1_ratio).

    Near zero it behaves as L1, so that weights can become sparse. Some texts call this penalty with λ₁ = λ₂
    "Smooth-L1".

    Raises:
        ValueError: `l1` or `l2` is not a finite number, 0 or more.
    """

    l1: float
    l2: float
    separable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_strength("ElasticNet l1", self.l1)
        check_strength("ElasticNet l2", self.l2)

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return L1(self.l1).penalty(weights) + L2(self.l2).penalty(weights)

    def gradient(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        gradient = L1(self.l1).gradient(weights)
        torch._foreach_add_(list(gradient), list(weights), alpha=self.l2)
        return gradient

    def prox(self, weights: Sequence[Tensor], step: Steps) -> None:
        soft_threshold(weights, scaled(step, self.l1))
        shrink(weights, scaled(step, self.l2))


@dataclass(frozen=True)
class SmoothL1(Regularizer):
    """λΣh(w), h(w) = w²/2β if |w| < β, else |w| − β/2, with gradient λ·clip(w/β, ±1) (Huber 1964, on weights).

    This h is the one of `torch.nn.functional.smooth_l1_loss`; `huber_loss` is β times as large.

    Near zero it behaves as L2, so that weights never become sparse. If β ≥ max|w| it is exactly `L2(λ/β)`. An absolute
    β such as 0.5 has this effect in most networks: the largest initial weight of a ResNet-34 is 0.49. Prefer `kappa`: β
    is then κ times the standard deviation of each weight tensor at the start of training, and stays constant. The prox
    is v − τ·clip(v/(β+τ), ±1).

    Raises:
        ValueError: `strength` is not a finite number, 0 or more; or not exactly one of `kappa` and `beta` is a finite
            number above 0.
    """

    strength: float
    kappa: float | None = None
    """β relative to the standard deviation of each weight tensor at the start. Typical values are 0.1 to 2."""
    beta: float | None = None
    """β itself, equal for all weights."""

    def __post_init__(self) -> None:
        check_strength("SmoothL1", self.strength)
        if (self.kappa is None) == (self.beta is None):
            raise ValueError("SmoothL1: give one of kappa (β relative to the spread of each weight tensor, say 0.5) and beta (β itself)")
        given = self.kappa if self.beta is None else self.beta
        if given is None or not (math.isfinite(given) and given > 0):
            raise ValueError(f"SmoothL1: {'kappa' if self.beta is None else 'beta'} must be a finite number above 0; got {given}")

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return self.fixed(weights).penalty(weights)

    def gradient(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        return self.fixed(weights).gradient(weights)

    def prox(self, weights: Sequence[Tensor], step: Steps) -> None:
        self.fixed(weights).prox(weights, step)

    def fixed(self, weights: Sequence[Tensor]) -> "Huber":
        if self.beta is not None:
            return Huber(self.strength, (self.beta,) * len(weights))
        if self.kappa is None or not weights:
            return Huber(self.strength, ())
        spread = torch.stack([weight.detach().std(correction=0) for weight in weights]).tolist()
        return Huber(self.strength, tuple(self.kappa * max(std, torch.finfo(torch.float32).tiny) for std in spread))


@dataclass(frozen=True)
class Huber(Regularizer):
    """`SmoothL1` with a known β for each weight tensor."""

    strength: float
    betas: tuple[float, ...]
    separable: ClassVar[bool] = True

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        parts = []
        for weight, beta in zip(weights, self.betas, strict=True):
            size = weight.abs()
            parts.append(torch.where(size < beta, weight.square() / (2 * beta), size - beta / 2).sum())
        return self.strength * total(parts)

    def gradient(self, weights: Sequence[Tensor]) -> Sequence[Tensor]:
        gradient = torch._foreach_div(list(weights), list(self.betas))
        clip_to_one(gradient)
        torch._foreach_mul_(gradient, self.strength)
        return gradient

    def prox(self, weights: Sequence[Tensor], step: Steps) -> None:
        threshold = scaled(step, self.strength)
        move = divided(weights, added(threshold, self.betas))
        clip_to_one(move)
        tensors, numbers = tensors_and_numbers(threshold)
        if tensors:
            torch._foreach_addcmul_(list(weights), move, tensors, value=-1)
        else:
            torch._foreach_mul_(move, numbers)
            torch._foreach_sub_(list(weights), move)

    def select(self, index: Sequence[int]) -> "Huber":
        return Huber(self.strength, tuple(self.betas[position] for position in index))

    def state(self) -> dict[str, Any]:
        return {"betas": list(self.betas)}

    def with_state(self, state: Mapping[str, Any], device: torch.device) -> "Huber":
        return Huber(self.strength, tuple(state["betas"]))


def total(parts: Sequence[Tensor]) -> Tensor:
    """Return the sum of 0-dim tensors; 0 if there are none."""
    return torch.stack(list(parts)).sum() if parts else torch.zeros(())


def scaled(step: Steps, factor: float) -> Steps:
    """Multiply each step size by a factor: τ = tλ."""
    tensors, numbers = tensors_and_numbers(step)
    return torch._foreach_mul(tensors, factor) if tensors else [number * factor for number in numbers]


def added(step: Steps, terms: Sequence[float]) -> Steps:
    """Add one number to each step size."""
    tensors, numbers = tensors_and_numbers(step)
    return torch._foreach_add(tensors, list(terms)) if tensors else [number + term for number, term in zip(numbers, terms, strict=True)]


def soft_threshold(weights: Sequence[Tensor], threshold: Steps) -> None:
    """Replace v by S(v,τ) = v − clip(v, ±τ), in place. Elements within the threshold become exactly 0."""
    tensors, numbers = tensors_and_numbers(threshold)
    high: list[Any] = tensors if tensors else numbers
    low: list[Any] = list(torch._foreach_neg(tensors)) if tensors else [-number for number in numbers]
    if len(high) == 1:  # one pass instead of two
        within = [torch.clamp(weights[0], low[0], high[0])]
    else:
        within = list(torch._foreach_clamp_min(list(weights), low))
        torch._foreach_clamp_max_(within, high)
    torch._foreach_sub_(list(weights), within)


def shrink(weights: Sequence[Tensor], by: Steps) -> None:
    """Replace v by v/(1+τ), in place."""
    tensors, numbers = tensors_and_numbers(added(by, [1.0] * len(by)))
    torch._foreach_div_(list(weights), tensors if tensors else numbers)


def divided(values: Sequence[Tensor], by: Steps) -> list[Tensor]:
    """Divide each tensor by one number or tensor."""
    tensors, numbers = tensors_and_numbers(by)
    return list(torch._foreach_div(list(values), tensors if tensors else numbers))


def clip_to_one(values: Sequence[Tensor]) -> None:
    """Clip every element to [−1, 1], in place."""
    if len(values) == 1:
        values[0].clamp_(-1.0, 1.0)
    else:
        torch._foreach_clamp_min_(tuple(values), -1.0)
        torch._foreach_clamp_max_(tuple(values), 1.0)


def tensors_and_numbers(step: Steps) -> tuple[list[Tensor], list[float]]:
    """Split step sizes into tensors and numbers; one of the two lists is empty."""
    return [size for size in step if isinstance(size, Tensor)], [size for size in step if not isinstance(size, Tensor)]
