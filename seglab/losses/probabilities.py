"""Regression losses on probabilities: a function of the difference between softmax and one-hot truth."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from seglab.losses.inputs import class_logits, one_hot
from seglab.losses.ranks import ratio_over_ranks
from seglab.sample import IGNORE


class ProbabilityLoss(nn.Module, ABC):
    """(1/|Ω|) Σ_pixels Σ_c f(p_c − y_c) over valid pixels Ω, p = softmax(logits), y = one-hot, in at least float32.

    A subclass defines f in `of_errors`.
    """

    def __init__(self, ignore_index: int = IGNORE) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    @abstractmethod
    def of_errors(self, errors: Tensor) -> Tensor:
        """Return f of each of the errors p − y (N,C,H,W), which are in [−1,1]."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of logits (N,C,H,W), any floating dtype, for a mask (N,H,W) int64: 0-dim, at least float32.

        C = 1 is one logit.

        Raises:
            ValueError: if a shape or dtype is wrong.
        """
        p = class_logits(logits, mask).softmax(1)
        valid = mask != self.ignore_index
        costs = self.of_errors(p - one_hot(mask, p.shape[1]).to(p.dtype)).sum(1)
        return ratio_over_ranks((costs * valid).sum(), valid.sum())

    def extra_repr(self) -> str:
        return f"ignore_index={self.ignore_index}"


class Brier(ProbabilityLoss):
    """Mean over valid pixels of Σ_c (p_c − y_c)² (Brier 1950), a proper score, in [0,2].

    Divided by C it is the mean squared error.

    For one logit z the sum runs over both classes: the loss is twice (σ(z) − y)², which scikit-learn and others call
    the Brier score.

    >>> Brier()(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64))
    tensor(0.5000)
    """

    def of_errors(self, errors: Tensor) -> Tensor:
        """Return e² of each error e."""
        return errors.square()


class SmoothL1Loss(ProbabilityLoss):
    """Mean over valid pixels of Σ_c h(p_c − y_c), h(e) = e²/2β if |e| < β, else |e| − β/2.

    See Huber 1964; Girshick 2015, arXiv:1504.08083.

    For several classes, `torch.nn.functional.smooth_l1_loss` of the probabilities is this loss divided by C, because
    its mean runs over the classes too. For one logit z, this loss is twice h(σ(z) − y), because the sum runs over both
    classes.

    The loss is symmetric: a probability that is too small by some amount costs as much as one that is too large by it.
    Because |e| ≤ 1, the loss with β ≥ 1 is `Brier` divided by 2β. `seglab.SmoothL1` is the same function as a penalty
    on weights.

    Args:
        beta: β > 0.
        ignore_index: the mask value of ignored pixels.

    Raises:
        ValueError: if β is not positive.

    >>> SmoothL1Loss(beta=0.2)(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64))  # 2 (½ − 0.1)
    tensor(0.8000)
    """

    def __init__(self, beta: float = 0.2, ignore_index: int = IGNORE) -> None:
        super().__init__(ignore_index)
        if not 0 < beta < torch.inf:
            raise ValueError(f"beta must be a finite number above 0, got {beta}; at 1 and more it is Brier over 2·beta")
        self.beta = beta

    def of_errors(self, errors: Tensor) -> Tensor:
        """Return h(e) of each error e."""
        return nn.functional.smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none", beta=self.beta)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, {super().extra_repr()}"
