"""The per-class sums over pixels from which region losses are computed."""

from typing import NamedTuple

import torch
from torch import Tensor

from seglab.losses.inputs import class_logits, one_hot


class SoftCounts(NamedTuple):
    """Per-class sums over valid pixels, in at least float32; p are probabilities, y the one-hot truth.

    Each sum is (N,C), one row per image of a batch, or (C,) for all images together.
    """

    overlap: Tensor
    """Σpy: the soft true positives."""
    predicted: Tensor
    """Σp."""
    truth: Tensor
    """Σy: the number of pixels of each class."""

    @property
    def present(self) -> Tensor:
        """Return whether each class has a valid pixel in the truth: bool, (N,C) or (C,)."""
        return self.truth > 0

    @property
    def pixels(self) -> Tensor:
        """Return |Ω|, the number of valid pixels: (N,1) or (1,)."""
        return self.truth.sum(-1, keepdim=True)


def soft_counts(logits: Tensor, mask: Tensor, ignore_index: int) -> SoftCounts:
    """Compute the soft counts of each image from logits (N,C,H,W), any floating dtype, and mask (N,H,W) int64.

    Pixels with `ignore_index` are left out.

    Raises:
        ValueError: if a shape or dtype is wrong.
    """
    p = class_logits(logits, mask).softmax(dim=1)
    valid = (mask != ignore_index).unsqueeze(1)
    y = one_hot(mask, p.shape[1]) & valid
    return SoftCounts((p * y).sum((2, 3)), (p * valid).sum((2, 3)), y.sum((2, 3)).to(p.dtype))


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide element by element; return 0, with a gradient of 0, where the denominator is 0 or subnormal.

    The reciprocal of a subnormal number may be infinite.
    """
    some = denominator >= torch.finfo(denominator.dtype).tiny
    return (numerator / denominator.where(some, 1.0)).where(some, 0.0)
