"""Tversky: overlap divided by a union with chosen weights of false positives and false negatives.

With weights of 1 it is Jaccard.
"""

import math

from torch import Tensor

from seglab.losses.region import Absent, ClassMeanLoss, Reduction, check_smooth
from seglab.losses.soft_counts import SoftCounts, ratio
from seglab.sample import IGNORE


class Tversky(ClassMeanLoss):
    """Mean over classes of 1 − (TP+s)/(TP+αFP+βFN+s): TP = Σpy, FP = Σp − TP, FN = Σy − TP (Salehi et al. 2017,
    arXiv:1706.05721).

    α = β = ½ is `Dice` (with s/2), α = β = 1 is `Jaccard`. With β > α a false negative costs more than a false
    positive. MONAI and SMP have α = β = ½ as their default.

    Args:
        alpha: α ≥ 0, the weight of false positives.
        beta: β ≥ 0, the weight of false negatives.
        smooth: s ≥ 0; see `Dice`.
        absent: cost of an absent class; see `ClassMeanLoss`.
        reduction: pixels over which the soft counts are summed; see `RegionLoss`.
        ignore_index: mask value of ignored pixels.
        foreground_only: leave the background of one logit out; see `RegionLoss`.

    Raises:
        ValueError: if a number is negative or not finite, α + β = 0 (no mistake would cost anything), or
            `absent` or `reduction` is not a word that `ClassMeanLoss` allows.
    """

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = 0.0,
        absent: Absent = "skip",
        reduction: Reduction = "batch",
        ignore_index: int = IGNORE,
        foreground_only: bool = False,
    ) -> None:
        super().__init__(absent, reduction, ignore_index, foreground_only)
        if not (0 <= alpha < math.inf and 0 <= beta < math.inf):
            raise ValueError(f"alpha and beta must be finite numbers ≥ 0, got {alpha} and {beta}")
        if alpha + beta == 0:
            raise ValueError("alpha + beta is 0: no mistake would cost anything; one of them must be positive (0.5 and 0.5 is Dice)")
        self.alpha, self.beta = alpha, beta
        self.smooth = check_smooth(smooth)

    def of_class(self, counts: SoftCounts) -> Tensor:
        """Return 1 − TI of each class, TI being the Tversky index."""
        overlap = counts.overlap
        mistakes = self.alpha * (counts.predicted - overlap) + self.beta * (counts.truth - overlap)
        return 1 - ratio(overlap + self.smooth, overlap + mistakes + self.smooth)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, beta={self.beta}, smooth={self.smooth}, {super().extra_repr()}"


class FocalTversky(Tversky):
    """Mean over classes of (1−TI)^γ, TI the Tversky index, γ inside the mean (Abraham & Khan 2018, arXiv:1810.07842).

    The authors write the exponent as 1/γ with γ = 4/3, and take the sum over classes. Here γ is the exponent itself,
    and the mean is taken, so that γ = 1 is `Tversky`. SMP's `TverskyLoss(gamma=…)` raises the mean over classes to γ
    instead: the same for one logit with `foreground_only`, another loss otherwise.

    Args:
        alpha: α ≥ 0, the weight of false positives.
        beta: β ≥ 0, the weight of false negatives.
        gamma: the exponent, above 0. Below 1 (the default is ¾), the larger the TI of a class, the larger its weight in
            the gradient. Above 1, the larger its TI, the smaller its weight.
        smooth: s ≥ 0; see `Dice`.
        absent: cost of an absent class; see `ClassMeanLoss`.
        reduction: pixels over which the soft counts are summed; see `RegionLoss`.
        ignore_index: mask value of ignored pixels.
        foreground_only: leave the background of one logit out; see `RegionLoss`.

    Raises:
        ValueError: as `Tversky`, or if `gamma` is not positive and finite.
    """

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 0.75,
        smooth: float = 0.0,
        absent: Absent = "skip",
        reduction: Reduction = "batch",
        ignore_index: int = IGNORE,
        foreground_only: bool = False,
    ) -> None:
        super().__init__(alpha, beta, smooth, absent, reduction, ignore_index, foreground_only)
        if not 0 < gamma < math.inf:
            raise ValueError(f"gamma must be a finite number above 0, got {gamma}")
        self.gamma = gamma

    def of_class(self, counts: SoftCounts) -> Tensor:
        """Return (1−TI)^γ of each class; 0, with a gradient of 0, where 1 − TI ≤ 10⁻⁶.

        For γ < 1 the slope of the power is infinite at 0.
        """
        cost = super().of_class(counts)
        some = cost > 1e-6
        return cost.where(some, 1.0).pow(self.gamma).where(some, 0.0)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, {super().extra_repr()}"


class Jaccard(ClassMeanLoss):
    """Soft Jaccard (IoU) loss, mean over classes of 1 − (Σpy+s)/(Σp+Σy−Σpy+s).

    See Rahman & Wang 2016, doi:10.1007/978-3-319-50835-1_22.

    Some call intersection over union Dice; this class is that loss. MONAI's `DiceLoss(jaccard=True)` is this loss with
    a smoothing of s/2 in numerator and denominator.

    Args:
        smooth: s ≥ 0; see `Dice`.
        absent: cost of an absent class; see `ClassMeanLoss`.
        reduction: pixels over which the soft counts are summed; see `RegionLoss`.
        ignore_index: mask value of ignored pixels.
        foreground_only: leave the background of one logit out; see `RegionLoss`.

    Raises:
        ValueError: if `smooth` is negative or not finite, or `absent` or `reduction` is not a word that `ClassMeanLoss`
            allows.
    """

    def __init__(
        self,
        smooth: float = 0.0,
        absent: Absent = "skip",
        reduction: Reduction = "batch",
        ignore_index: int = IGNORE,
        foreground_only: bool = False,
    ) -> None:
        super().__init__(absent, reduction, ignore_index, foreground_only)
        self.smooth = check_smooth(smooth)

    def of_class(self, counts: SoftCounts) -> Tensor:
        """Return 1 − (Σpy+s)/(Σp+Σy−Σpy+s) of each class."""
        overlap = counts.overlap
        return 1 - ratio(overlap + self.smooth, counts.predicted + counts.truth - overlap + self.smooth)

    def extra_repr(self) -> str:
        return f"smooth={self.smooth}, {super().extra_repr()}"
