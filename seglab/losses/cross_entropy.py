"""Cross-entropy: the log-likelihood of the labels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seglab.losses.class_weights import checked_weight, weight_of_pixels
from seglab.losses.inputs import class_logits
from seglab.losses.ranks import ratio_over_ranks
from seglab.sample import IGNORE


class CrossEntropy(nn.Module):
    """Weighted mean over valid pixels, −Σ w_y log p_y / Σ w_y with p = softmax(logits), in at least float32.

    The loss equals `torch.nn.functional.cross_entropy`, with one exception: if every pixel is ignored or of a class of
    weight 0, torch gives NaN or ∞, and this loss is 0, with a gradient of 0. While training, both sums run over all
    processes, so that ranks with different numbers of valid pixels give the gradient of the joint batch.

    For one logit the loss equals `binary_cross_entropy_with_logits`. The `pos_weight` of that function differs from
    `weight=[1, pos_weight]` by the denominator: it divides by the number of pixels, this loss by the sum of their
    weights.

    Args:
        ignore_index: the mask value of ignored pixels.
        weight: w, one number ≥ 0 per class (two for one logit); `None` is 1 for all.
            `SegmentationDataModule.class_pixels` and `median_frequency` compute it from the training masks.
        label_smoothing: ε in [0,1): the target is (1−ε)·one-hot + ε/C (Szegedy et al. 2016, arXiv:1512.00567).

    Raises:
        ValueError: if a weight is negative, infinite or NaN, all are 0, or `label_smoothing` is outside [0,1).

    >>> loss = CrossEntropy()
    >>> loss(torch.zeros(1, 4, 2, 2), torch.full((1, 2, 2), 255))
    tensor(0.)
    """

    def __init__(self, ignore_index: int = IGNORE, weight: Sequence[float] | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.ignore_index = ignore_index
        self.weight = checked_weight(weight)
        self.label_smoothing = label_smoothing
        self.class_weight: Tensor | None
        self.register_buffer("class_weight", None if weight is None else torch.tensor(self.weight, dtype=torch.float32), persistent=False)

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Compute the loss of logits (N,C,H,W), any floating dtype, for a mask (N,H,W) int64: 0-dim, at least float32.

        C = 1 is one logit.

        Raises:
            ValueError: if a shape or dtype is wrong, or the number of weights is not C.
        """
        z = class_logits(logits, mask)
        w = weight_of_pixels(self.class_weight, mask, z, self.ignore_index)
        # The sum over pixels is taken below, because that of `F.cross_entropy` has no deterministic CUDA kernel.
        class_weight = None if self.class_weight is None else self.class_weight.to(z.dtype)
        pixels = F.cross_entropy(
            z, mask, class_weight, ignore_index=self.ignore_index, reduction="none", label_smoothing=self.label_smoothing
        )
        return ratio_over_ranks(pixels.sum(), w.sum())

    def extra_repr(self) -> str:
        return f"ignore_index={self.ignore_index}, weight={self.weight}, label_smoothing={self.label_smoothing}"
