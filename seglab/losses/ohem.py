"""Online hard example mining: cross-entropy over the pixels that are predicted worst."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seglab.losses.inputs import class_logits
from seglab.losses.ranks import kth_largest_over_ranks, ratio_over_ranks
from seglab.sample import IGNORE


class OHEM(nn.Module):
    """Mean cross-entropy over valid pixels whose true class has a probability below θ, and at least over the hardest k.

    Shrivastava et al. 2016 (arXiv:1604.03540), for pixels as in Yu et al. 2018 (arXiv:1808.00897). The k pixels are
    selected from the joint batch of all processes, not k on each process. All pixels that tie with the k-th are
    selected. The gradient treats the selection as a constant. Ignored pixels do not count in k: padding changes
    nothing.

    Args:
        threshold: θ in [0,1]; with 0 the loss is the mean over the hardest k alone.
        at_least: k as a part of the valid pixels of the batch, in (0,1], rounded up; with 1 the loss is `CrossEntropy`.
        ignore_index: the mask value of ignored pixels.

    Raises:
        ValueError: if a number is out of its range.

    >>> p = torch.tensor([0.9, 0.8, 0.5, 0.1]).view(1, 1, 1, 4)
    >>> OHEM(threshold=0.0, at_least=0.5)(p.logit(), torch.tensor([[[1, 1, 255, 255]]]))  # the harder of two: −log 0.8
    tensor(0.2231)
    """

    def __init__(self, threshold: float = 0.7, at_least: float = 1 / 16, ignore_index: int = IGNORE) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {threshold}")
        if not 0 < at_least <= 1:
            raise ValueError(f"at_least must be in (0, 1], a part of the valid pixels, got {at_least}; with 0 no pixel might be selected")
        self.threshold = threshold
        self.at_least = at_least
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of logits (N,C,H,W), any floating dtype, for a mask (N,H,W) int64: 0-dim, at least float32.

        C = 1 is one logit.

        Raises:
            ValueError: if a shape or dtype is wrong.
        """
        cross_entropy = F.cross_entropy(class_logits(logits, mask), mask, ignore_index=self.ignore_index, reduction="none")
        valid = mask != self.ignore_index
        found = cross_entropy.detach().where(valid, -1.0)
        below_threshold = -torch.log(torch.full((), self.threshold, dtype=found.dtype, device=found.device))
        kth = kth_largest_over_ranks(found.flatten(), valid.flatten(), self.at_least, training=cross_entropy.requires_grad)
        taken = valid & ((found > below_threshold) | (found >= kth))
        return ratio_over_ranks((cross_entropy * taken).sum(), taken.sum())

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, at_least={self.at_least}, ignore_index={self.ignore_index}"
