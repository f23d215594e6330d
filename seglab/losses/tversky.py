"""Tversky: overlap over a union in which false positives and false negatives weigh what one chooses. Jaccard is its case of 1 and 1."""

import math

from torch import Tensor

from seglab.losses.region import Absent, ClassMeanLoss, Reduction, check_smooth
from seglab.losses.soft_counts import SoftCounts, ratio
from seglab.sample import IGNORE


class Tversky(ClassMeanLoss):
    """Mean over classes of 1 − (TP+s)/(TP+αFP+βFN+s): TP = Σpy, FP = Σp − TP, FN = Σy − TP (Salehi et al. 2017, arXiv:1706.05721).

    α = β = ½ is `Dice` (with s/2), α = β = 1 `Jaccard`; β > α makes missing a class dearer than finding it where it is not.

    Args:
        alpha: α ≥ 0, the weight of false positives.
        beta: β ≥ 0, that of false negatives.
        smooth: s ≥ 0; see `Dice`.
        absent, reduction, ignore_index: see `ClassMeanLoss`.

    Raises:
        ValueError: if a number is negative or not finite, α + β = 0 (then every prediction is right), or a word is none of those there.
    """

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = 0.0,
        absent: Absent = "skip",
        reduction: Reduction = "batch",
        ignore_index: int = IGNORE,
    ) -> None:
        super().__init__(absent, reduction, ignore_index)
        if not (0 <= alpha < math.inf and 0 <= beta < math.inf):
            raise ValueError(f"alpha and beta must be finite numbers ≥ 0, got {alpha} and {beta}")
        if alpha + beta == 0:
            raise ValueError("alpha + beta is 0: no mistake would cost anything; one of them must be positive (0.5 and 0.5 is Dice)")
        self.alpha, self.beta = alpha, beta
        self.smooth = check_smooth(smooth)

    def of_class(self, counts: SoftCounts) -> Tensor:
        """1 − TI, the Tversky index."""
        overlap = counts.overlap
        mistakes = self.alpha * (counts.predicted - overlap) + self.beta * (counts.truth - overlap)
        return 1 - ratio(overlap + self.smooth, overlap + mistakes + self.smooth)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, beta={self.beta}, smooth={self.smooth}, {super().extra_repr()}"


class FocalTversky(Tversky):
    """Mean over classes of (1−TI)^γ, TI the Tversky index, γ inside of the mean (Abraham & Khan 2018, arXiv:1810.07842).

    They write the exponent as 1/γ with γ = 4/3, and sum where this takes the mean, so that γ = 1 is `Tversky`.

    Args:
        alpha, beta, smooth, absent, reduction, ignore_index: see `Tversky`.
        gamma: the exponent, above 0. Below 1, the default ¾, a class counts the more in the gradient the better it is already;
            above 1 the less.

    Raises:
        ValueError: as `Tversky`, or if `gamma` is not positive.
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
    ) -> None:
        super().__init__(alpha, beta, smooth, absent, reduction, ignore_index)
        if not 0 < gamma < math.inf:
            raise ValueError(f"gamma must be a finite number above 0, got {gamma}")
        self.gamma = gamma

    def of_class(self, counts: SoftCounts) -> Tensor:
        """(1−TI)^γ, and nothing where TI is 1 but for rounding: the slope of the power is infinite there."""
        cost = super().of_class(counts)
        some = cost > 1e-6
        return cost.where(some, 1.0).pow(self.gamma).where(some, 0.0)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, {super().extra_repr()}"


class Jaccard(ClassMeanLoss):
    """Soft Jaccard (IoU) loss, mean over classes of 1 − (Σpy+s)/(Σp+Σy−Σpy+s) (Rahman & Wang 2016, doi:10.1007/978-3-319-50835-1_22).

    What some call Dice, intersection over union, is this.

    Args:
        smooth: s ≥ 0; see `Dice`.
        absent, reduction, ignore_index: see `ClassMeanLoss`.

    Raises:
        ValueError: if `smooth` is negative, or a word is none of those there.
    """

    def __init__(self, smooth: float = 0.0, absent: Absent = "skip", reduction: Reduction = "batch", ignore_index: int = IGNORE) -> None:
        super().__init__(absent, reduction, ignore_index)
        self.smooth = check_smooth(smooth)

    def of_class(self, counts: SoftCounts) -> Tensor:
        """1 − (Σpy+s)/(Σp+Σy−Σpy+s)."""
        overlap = counts.overlap
        return 1 - ratio(overlap + self.smooth, counts.predicted + counts.truth - overlap + self.smooth)

    def extra_repr(self) -> str:
        return f"smooth={self.smooth}, {super().extra_repr()}"
