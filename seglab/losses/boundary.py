"""Boundary loss: probabilities weighted by the signed distance to the boundary of their class."""

from torch import Tensor, nn

from seglab.losses.distance import signed_distances
from seglab.losses.inputs import class_logits, scored_classes
from seglab.losses.ranks import ratio_over_ranks
from seglab.sample import IGNORE


class BoundaryLoss(nn.Module):
    """(1/(|Ω|·C)) Σ_{Ω,c} φ_c p_c, with p = softmax(logits), sums over valid pixels Ω (Kervadec et al. 2019,
    arXiv:1812.07032).

    φ_c is the signed distance to the boundary of class c in its image, in pixels: positive outside, negative inside, 0
    on the outermost pixels of the class, and 0 everywhere if the image has no such pixel or no other (see
    `signed_distances`). The mean runs over all classes, as in MONAI. The authors' code takes a list of classes and the
    mean over these alone.

    The loss is negative where most pixels are right, because φ is negative inside of a class. An image of one class
    adds 0. Add this loss to a region loss, as the authors add it to `GeneralizedDice`.

    The distances are computed on the CPU. If the mask is on another device, each call waits until the mask is copied to
    the CPU.

    Args:
        ignore_index: the mask value of ignored pixels. They are left out of the mean, and are on neither side of a
            boundary.
        foreground_only: whether one logit is scored by its foreground alone, as the authors and MONAI do; the default
            is the mean over background and foreground.

    >>> import torch
    >>> BoundaryLoss()(torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 1, 1]]]))  # φ_0 = 0, 1, 2, φ_1 = 1, 0, −1
    tensor(0.2500)
    """

    def __init__(self, ignore_index: int = IGNORE, foreground_only: bool = False) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.foreground_only = foreground_only

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of logits (N,C,H,W), any floating dtype, for a mask (N,H,W) int64: 0-dim, at least float32.

        C = 1 is one logit.

        The loss is 0, with a gradient of 0, if every pixel is ignored.

        Raises:
            ValueError: if a shape or dtype is wrong, or `foreground_only` and C is not 1.
        """
        p = class_logits(logits, mask).softmax(1)
        scored = scored_classes(logits, self.foreground_only)
        valid = mask != self.ignore_index
        phi = signed_distances(mask.where(valid, -1), p.shape[1]).to(p.dtype)
        return ratio_over_ranks((phi * p)[:, scored].mean(1).sum(), valid.sum())

    def extra_repr(self) -> str:
        return f"ignore_index={self.ignore_index}, foreground_only={self.foreground_only}"
