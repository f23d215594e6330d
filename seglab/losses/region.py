"""Base classes of region losses: the pixels over which they sum, and the cost of an absent class."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from seglab.losses.inputs import scored_classes
from seglab.losses.ranks import ratio_over_ranks, sum_over_ranks
from seglab.losses.soft_counts import SoftCounts, soft_counts
from seglab.sample import IGNORE

Absent = Literal["skip", "penalize"]
Reduction = Literal["batch", "image"]


class RegionLoss(nn.Module, ABC):
    """A function of the soft counts of classes, in at least float32; a subclass defines it in `of_counts`.

    Four defaults differ from those of other libraries. One logit is two classes; MONAI and SMP score its foreground
    alone. The pixels of the batch are summed; MONAI and kornia sum those of each image, as `reduction="image"` does. An
    absent class is left out; it counts 1 in the mean of MONAI, and 0 in that of SMP. Nothing is added to numerator and
    denominator; MONAI adds 10⁻⁵ to both.

    Args:
        reduction: the pixels over which the soft counts are summed.
            `"batch"`: all pixels of the batch, over all processes. A class is present if it is in any image.
            `"image"`: the pixels of each image. The loss is the mean over images that have a valid pixel.
        ignore_index: the mask value of ignored pixels.
        foreground_only: whether the background of one logit is left out, which a subclass must heed in `of_counts`.

    Raises:
        ValueError: if `reduction` is none of these words.
    """

    def __init__(self, reduction: Reduction = "batch", ignore_index: int = IGNORE, foreground_only: bool = False) -> None:
        super().__init__()
        if reduction not in ("batch", "image"):
            raise ValueError(f"reduction must be 'batch' or 'image', got {reduction!r}")
        self.reduction = reduction
        self.ignore_index = ignore_index
        self.foreground_only = foreground_only

    @abstractmethod
    def of_counts(self, counts: SoftCounts) -> Tensor:
        """Return the loss (…) of counts (…,C); it must be 0 where there is no valid pixel."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of logits (N,C,H,W), any floating dtype, for a mask (N,H,W) int64: 0-dim, at least float32.

        C = 1 is one logit.

        The loss is 0, with a gradient of 0, if every pixel is ignored.

        Raises:
            ValueError: if a shape or dtype is wrong, or `foreground_only` and C is not 1.
        """
        counts = soft_counts(logits, mask, self.ignore_index)
        scored_classes(logits, self.foreground_only)
        if self.reduction == "batch":
            return self.of_counts(SoftCounts(*sum_over_ranks(torch.stack(counts).sum(1))))
        has_pixels = counts.pixels[:, 0] > 0
        return ratio_over_ranks(self.of_counts(counts).sum(), has_pixels.sum())

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}, ignore_index={self.ignore_index}, foreground_only={self.foreground_only}"


class ClassMeanLoss(RegionLoss):
    """The mean over classes of the cost of each; a subclass defines the cost of a present class in `of_class`.

    Args:
        absent: the cost of an absent class, one that has no valid pixel in the truth. `"skip"`: none; the mean runs
            over present classes. False positives of an absent class then cost only the probability that they take from
            present classes. `"penalize"`: its mean probability Σp/|Ω|; the mean runs over all classes, so that false
            positives keep a gradient.
        reduction: see `RegionLoss`.
        ignore_index: the mask value of ignored pixels.
        foreground_only: whether one logit is scored by its foreground alone, as MONAI and SMP do; the default is the
            mean over background and foreground. Without a foreground pixel the loss is then 0, unless
            `absent="penalize"`.

    Raises:
        ValueError: if `absent` or `reduction` is none of these words.
    """

    def __init__(
        self, absent: Absent = "skip", reduction: Reduction = "batch", ignore_index: int = IGNORE, foreground_only: bool = False
    ) -> None:
        super().__init__(reduction, ignore_index, foreground_only)
        if absent not in ("skip", "penalize"):
            raise ValueError(f"absent must be 'skip' or 'penalize', got {absent!r}")
        self.absent = absent

    @abstractmethod
    def of_class(self, counts: SoftCounts) -> Tensor:
        """Return the costs (…,C) of classes with counts (…,C).

        The cost of an absent class is not used, but must be finite.
        """

    def of_counts(self, counts: SoftCounts) -> Tensor:
        """Return the mean of the costs over the scored classes, an absent class being treated as `absent` says."""
        scored = slice(1, None) if self.foreground_only else slice(None)
        present = counts.present[..., scored]
        costs = self.of_class(counts)[..., scored].where(present, 0.0)
        if self.absent == "skip":
            return costs.sum(-1) / present.sum(-1).clamp(min=1)
        return costs.where(present, (counts.predicted / counts.pixels.clamp(min=1))[..., scored]).mean(-1)

    def extra_repr(self) -> str:
        return f"absent={self.absent!r}, {super().extra_repr()}"


def check_smooth(smooth: float) -> float:
    """Return `smooth`; raise a ValueError if it is negative or not finite."""
    if not 0 <= smooth < torch.inf:
        raise ValueError(f"smooth must be a finite number ≥ 0, got {smooth}")
    return smooth
