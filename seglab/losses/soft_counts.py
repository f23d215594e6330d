"""The soft confusion that region losses are made of."""

from typing import NamedTuple

from torch import Tensor, arange


class SoftCounts(NamedTuple):
    """Per-class sums over the valid pixels of each image, float32; p are probabilities, y the one-hot truth."""

    overlap: Tensor
    """(N,C) Σpy: the soft true positives."""
    predicted: Tensor
    """(N,C) Σp."""
    truth: Tensor
    """(N,C) Σy: the number of pixels of each class."""


def soft_counts(logits: Tensor, mask: Tensor, ignore_index: int) -> SoftCounts:
    """Count the classes of logits (N,C,H,W), any floating dtype, and mask (N,H,W) int64, leaving out pixels with `ignore_index`."""
    valid = (mask != ignore_index).unsqueeze(1)
    classes = arange(logits.shape[1], device=mask.device).view(1, -1, 1, 1)
    y = (mask.unsqueeze(1) == classes) & valid
    p = logits.float().softmax(dim=1)
    return SoftCounts((p * y).sum((2, 3)), (p * valid).sum((2, 3)), y.sum((2, 3)).float())
