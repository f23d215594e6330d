"""Focal loss: cross-entropy with a lower weight on pixels that are already predicted right."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglab.losses.class_weights import checked_weight, weight_of_pixels
from seglab.losses.inputs import class_logits
from seglab.losses.ranks import ratio_over_ranks
from seglab.sample import IGNORE


class Focal(nn.Module):
    """Weighted mean over valid pixels, −Σ w_y (1−p_y)^γ log p_y / Σ w_y with p = softmax(logits), in at least float32.

    The focal loss of Lin et al. 2017 (arXiv:1708.02002), with weights w in place of their α. They use one sigmoid per
    class; this loss uses a softmax, in which every pixel has one class. γ = 0 is `CrossEntropy`.

    For one logit the loss equals `torchvision.ops.sigmoid_focal_loss(alpha=-1, reduction="mean")`; its default α = ¼
    multiplies the foreground by ¼ and the background by ¾, and divides by the number of pixels. For several classes,
    the softmax losses of MONAI and kornia are this loss divided by C, because their mean runs over the classes too. SMP
    takes one sigmoid per class: another loss.

    Args:
        gamma: γ ≥ 0. The gradient goes to 0 as p_y goes to 1, for γ below 1 too.
        weight: w, one number ≥ 0 per class (two for one logit); `None` is 1 for all.
        ignore_index: the mask value of ignored pixels.

    Raises:
        ValueError: if γ is negative or not finite, a weight is negative, infinite or NaN, or all are 0.

    >>> Focal()(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64))  # ¼ log 2
    tensor(0.1733)
    """

    def __init__(self, gamma: float = 2.0, weight: Sequence[float] | None = None, ignore_index: int = IGNORE) -> None:
        super().__init__()
        if not 0 <= gamma < math.inf:
            raise ValueError(f"gamma must be a finite number ≥ 0, got {gamma}; 0 is cross-entropy, Lin et al. take 2")
        self.gamma = gamma
        self.weight = checked_weight(weight)
        self.ignore_index = ignore_index
        self.class_weight: Tensor | None
        self.register_buffer("class_weight", None if weight is None else torch.tensor(self.weight, dtype=torch.float32), persistent=False)

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of logits (N,C,H,W), any floating dtype, for a mask (N,H,W) int64: 0-dim, at least float32.

        C = 1 is one logit.

        Raises:
            ValueError: if a shape or dtype is wrong, or the number of weights is not C.
        """
        z = class_logits(logits, mask)
        w = weight_of_pixels(self.class_weight, mask, z, self.ignore_index)
        cross_entropy = F.cross_entropy(z, mask, ignore_index=self.ignore_index, reduction="none")
        missed = -torch.expm1(-cross_entropy)  # 1 − p_y, exact where p_y is near 1
        if 0 < self.gamma < 1:  # where p_y rounds to 1, the slope of the power is infinite, and ∞ · log 1 is NaN; the limit is 0
            missed = missed.clamp_min(torch.finfo(missed.dtype).tiny)
        return ratio_over_ranks((w * missed**self.gamma * cross_entropy).sum(), w.sum())

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, weight={self.weight}, ignore_index={self.ignore_index}"
