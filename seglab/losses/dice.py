"""Dice: overlap of probabilities with the truth, class by class."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from seglab.losses.inputs import check_inputs
from seglab.losses.ranks import ratio_over_ranks, sum_over_ranks
from seglab.losses.soft_counts import SoftCounts, soft_counts
from seglab.sample import IGNORE


class Dice(nn.Module):
    """Soft Dice loss, mean over classes of 1 − (2Σpy+s)/(Σp+Σy+s) with p = softmax(logits), y = one-hot, sums over valid pixels.

    V-Net (Milletari et al. 2016, arXiv:1606.04797), with the sums of p and y not squared. In float32 whatever the logits are.

    Args:
        smooth: s ≥ 0. The default 0 is the formula itself: only present classes are divided, so that it never divides by 0. A
            positive s makes rare classes cheaper to miss.
        absent: what a class that has no valid pixel in the truth costs.
            `"skip"`: nothing; the mean runs over the classes that are present. False positives of an absent class then cost only
            what they take from the present ones.
            `"penalize"`: its mean probability Σp/|Ω|; the mean runs over all classes, so false positives keep a gradient.
        reduction: over what the sums run.
            `"batch"`: all pixels of the batch, over all processes, make one Dice per class; a class is present if it is in any image.
            `"image"`: each image has its own Dice per class; the loss is the mean over images that have a valid pixel.
        ignore_index: the mask value that counts for nothing.

    Raises:
        ValueError: if `smooth` is negative, or `absent` or `reduction` is none of the words above.

    >>> sure = torch.tensor([50.0, -50.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    >>> Dice()(sure, torch.zeros(1, 2, 2, dtype=torch.int64))
    tensor(0.)
    """

    def __init__(
        self,
        smooth: float = 0.0,
        absent: Literal["skip", "penalize"] = "skip",
        reduction: Literal["batch", "image"] = "batch",
        ignore_index: int = IGNORE,
    ) -> None:
        super().__init__()
        if not 0 <= smooth < math.inf:
            raise ValueError(f"smooth must be a finite number ≥ 0, got {smooth}")
        if absent not in ("skip", "penalize"):
            raise ValueError(f"absent must be 'skip' or 'penalize', got {absent!r}")
        if reduction not in ("batch", "image"):
            raise ValueError(f"reduction must be 'batch' or 'image', got {reduction!r}")
        self.smooth = smooth
        self.absent = absent
        self.reduction = reduction
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compare logits (N,C,H,W), any floating dtype, with a mask (N,H,W) int64: 0-dim float32; 0 if every pixel is ignored.

        Raises:
            ValueError: for another shape or dtype.
        """
        check_inputs(logits, mask)
        counts = soft_counts(logits, mask, self.ignore_index)
        if self.reduction == "batch":
            return self._loss(SoftCounts(*sum_over_ranks(torch.stack(counts).sum(1))))
        has_pixels = counts.truth.sum(1) > 0
        return ratio_over_ranks(self._loss(counts).sum(), has_pixels.sum())

    def _loss(self, counts: SoftCounts) -> Tensor:
        """The loss (…) of counts (…,C); 0 where there is no valid pixel."""
        overlap, predicted, truth = counts
        present = truth > 0
        denominator = torch.where(present, predicted + truth + self.smooth, 1.0)
        dice_loss = torch.where(present, 1 - (2 * overlap + self.smooth) / denominator, 0.0)
        if self.absent == "skip":
            return dice_loss.sum(-1) / present.sum(-1).clamp(min=1)
        pixels = truth.sum(-1, keepdim=True).clamp(min=1)
        return torch.where(present, dice_loss, predicted / pixels).mean(-1)

    def extra_repr(self) -> str:
        return f"smooth={self.smooth}, absent={self.absent!r}, reduction={self.reduction!r}, ignore_index={self.ignore_index}"
