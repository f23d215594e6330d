"""Hausdorff loss: squared errors weighted by their distances to the boundaries of truth and prediction."""

import torch
from torch import Tensor, nn

from seglab.losses.distance import boundary_distances
from seglab.losses.inputs import class_logits, one_hot
from seglab.losses.ranks import ratio_over_ranks
from seglab.sample import IGNORE


class HausdorffDT(nn.Module):
    """(1/(|Ω|·C)) Σ_{Ω,c} (p_c − y_c)² (d_p^α + d_y^α), Ω the valid pixels (Karimi & Salcudean 2019, arXiv:1904.10030).

    p = softmax(logits), y = one-hot. d_y is the distance in pixels to the boundary of class c in the truth of its
    image. d_p is the distance to the boundary of class c in the prediction p_c > ½. Both are unsigned distances to the
    nearest pixel on the other side (see `boundary_distances`). A class that is nowhere, or everywhere, has no boundary:
    its distances are 0. The distances d_p change by jumps, and the gradient treats them as constants.

    A class that has a boundary in neither truth nor prediction costs nothing, even if its probabilities are just below
    ½. Add this loss to a region loss, as the authors do.

    For one logit both classes cost the same, so that the loss is that of the foreground alone, as in MONAI. For several
    classes, MONAI leaves the first one out of the mean unless `include_background=True`.

    The distances are computed on the CPU. On another device, each call waits until mask and prediction are copied to
    the CPU.

    Args:
        alpha: α > 0, the exponent of the distances: the larger, the more a distant error costs. The authors take 2.
        ignore_index: the mask value of ignored pixels. They are left out of the mean, and are on neither side of a
            boundary.

    Raises:
        ValueError: if α is not positive and finite.

    >>> truth, wrong = torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([30.0, 30.0, 30.0, -30.0])
    >>> HausdorffDT()(torch.stack([wrong, -wrong])[None, :, None], truth)  # pixels 1, 2: d_p = 2, 1, d_y = 1, 2
    tensor(2.5000)
    """

    def __init__(self, alpha: float = 2.0, ignore_index: int = IGNORE) -> None:
        super().__init__()
        if not 0 < alpha < torch.inf:
            raise ValueError(f"alpha must be a finite number above 0, got {alpha}; the authors take 2")
        self.alpha = alpha
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of logits (N,C,H,W), any floating dtype, for a mask (N,H,W) int64: 0-dim, at least float32.

        C = 1 is one logit.

        The loss is 0, with a gradient of 0, if every pixel is ignored.

        Raises:
            ValueError: if a shape or dtype is wrong.
        """
        p = class_logits(logits, mask).softmax(1)
        n, num_classes = p.shape[:2]
        valid = mask != self.ignore_index
        most, predicted = p.max(1)
        undecided = num_classes
        both = torch.cat([mask, predicted.where(most > 0.5, undecided)]).where(valid.repeat(2, 1, 1), -1)
        weights = boundary_distances(both, num_classes + 1)[:, :num_classes].to(p.dtype).pow(self.alpha)
        errors = p - one_hot(mask, num_classes).to(p.dtype)
        costs = errors.square() * (weights[:n] + weights[n:])
        return ratio_over_ranks(costs.mean(1).sum(), valid.sum())

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, ignore_index={self.ignore_index}"
