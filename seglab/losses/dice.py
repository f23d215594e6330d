"""Dice: overlap of probabilities and truth, divided by their mean size, for each class; and two derived losses."""

import math

from torch import Tensor
from torch.nn import functional as F

from seglab.losses.region import Absent, ClassMeanLoss, Reduction, RegionLoss, check_smooth
from seglab.losses.soft_counts import SoftCounts, ratio
from seglab.sample import IGNORE


class Dice(ClassMeanLoss):
    """Soft Dice loss, mean over classes of 1 − (2Σpy+s)/(Σp+Σy+s) with p = softmax(logits), y = one-hot.

    The sums run over the valid pixels.

    The loss of V-Net (Milletari et al. 2016, arXiv:1606.04797), with p and y in place of p² and y² in the denominator;
    MONAI's `squared_pred` is the loss with squares. It is computed in at least float32.

    Args:
        smooth: s ≥ 0. The default 0 adds nothing. It never leads to a division by 0, because only present classes are
            divided. A positive s lowers the cost of missing a rare class. MONAI's `smooth_nr` and `smooth_dr` are this
            s; SMP's `smooth` is s/2.
        absent: cost of an absent class; see `ClassMeanLoss`.
        reduction: pixels over which the soft counts are summed; see `RegionLoss`.
        ignore_index: mask value of ignored pixels.
        foreground_only: leave the background of one logit out; see `RegionLoss`.

    Raises:
        ValueError: if `smooth` is negative or not finite, or `absent` or `reduction` is not a word that `ClassMeanLoss`
            allows.

    >>> import torch
    >>> sure = torch.tensor([50.0, -50.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    >>> Dice()(sure, torch.zeros(1, 2, 2, dtype=torch.int64))
    tensor(0.)
    >>> logit, truth = torch.tensor([[[[1.0, -1.0], [-1.0, 1.0]]]]), torch.tensor([[[1, 0], [1, 1]]])
    >>> Dice()(logit, truth), Dice(foreground_only=True)(logit, truth)  # MONAI and SMP give the second
    (tensor(0.4101), tensor(0.3076))
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
        """Return 1 − (2Σpy+s)/(Σp+Σy+s) of each class."""
        return 1 - ratio(2 * counts.overlap + self.smooth, counts.predicted + counts.truth + self.smooth)

    def extra_repr(self) -> str:
        return f"smooth={self.smooth}, {super().extra_repr()}"


class LogCoshDice(Dice):
    """log cosh of the Dice loss (Jadon 2020, arXiv:2006.14822).

    Near 0 the loss is about half the square of the Dice loss, so its slope falls to 0.

    The function is applied to the mean over classes, not to each class. Arguments are those of `Dice`.

    >>> import torch
    >>> sure = torch.tensor([50.0, -50.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    >>> LogCoshDice()(sure, torch.ones(1, 2, 2, dtype=torch.int64))  # log cosh 1
    tensor(0.4338)
    """

    def of_counts(self, counts: SoftCounts) -> Tensor:
        """Return log cosh L = L + log(1 + e^−2L) − log 2, where L is the mean Dice loss over classes."""
        loss = super().of_counts(counts)
        return loss + F.softplus(-2 * loss) - math.log(2)


class GeneralizedDice(RegionLoss):
    """1 − 2 Σ_c w_c Σpy / Σ_c w_c (Σp+Σy) with w_c = 1/(Σy)², and 0 for an absent class (Sudre et al. 2017,
    arXiv:1707.03237).

    The weights give every class the same influence on the one ratio, whatever its size. An absent class has no weight,
    so its false positives cost only the probability that they take from present classes; MONAI gives an absent class
    the largest weight of the others.

    For one logit the ratio runs over background and foreground, as in the paper. MONAI uses the foreground alone, whose
    w cancels: that loss is `Dice(foreground_only=True)`.

    Args:
        reduction: pixels over which the soft counts are summed; see `RegionLoss`.
        ignore_index: mask value of ignored pixels.

    Raises:
        ValueError: if `reduction` is not a word that `RegionLoss` allows.

    >>> import torch
    >>> logit, truth = torch.tensor([[[[1.0, -1.0], [-1.0, 1.0]]]]), torch.tensor([[[1, 0], [1, 1]]])
    >>> GeneralizedDice()(logit, truth)  # MONAI gives 0.3076
    tensor(0.4806)
    """

    def __init__(self, reduction: Reduction = "batch", ignore_index: int = IGNORE) -> None:
        super().__init__(reduction, ignore_index)

    def of_counts(self, counts: SoftCounts) -> Tensor:
        """Return 1 − the weighted ratio over classes.

        The w_c are scaled by the square of the size of the smallest present class, which keeps them in float32's range.
        """
        smallest = counts.truth.where(counts.present, math.inf).amin(-1, keepdim=True)
        w = ratio(smallest.where(counts.pixels > 0, 0.0), counts.truth).square()
        overlap, sizes = (w * counts.overlap).sum(-1), (w * (counts.predicted + counts.truth)).sum(-1)
        return (1 - ratio(2 * overlap, sizes)).where(counts.pixels[..., 0] > 0, 0.0)
