"""Calibration: the difference between the confidence of predictions and their accuracy."""

import torch
from torch import Tensor
from torchmetrics import Metric

from seglab.metrics.confusion import confusion_matrices, narrowest
from seglab.sample import IGNORE


class CalibrationError(Metric):
    """Expected calibration error over the valid pixels of a data set (Guo et al. 2017, arXiv:1706.04599): Σ_b n_b/n ·
    |acc_b − conf_b|.

    The confidence of a pixel is its largest probability. The pixel is in the bin b whose interval ((b−1)/bins, b/bins]
    holds its confidence, b = 1…bins. n_b is the number of pixels in bin b, acc_b the share of them that is predicted
    right, and conf_b their mean confidence. n is the number of valid pixels. Sums are in float64.

    One logit z is two classes, so that its confidence is the larger of σ(z) and 1 − σ(z). `binary_calibration_error` of
    torchmetrics puts the pixels in bins by σ(z), and compares its mean with the share of foreground: another number,
    which distinguishes an error for p = 0.3 from one for p = 0.7. Of equal probabilities, the first class is predicted.

    Args:
        bins: number of bins of equal width, at least 1.
        ignore_index: the mask value of ignored pixels; none of the classes.

    Raises:
        ValueError: if `bins` is below 1.

    >>> metric = CalibrationError()
    >>> probabilities = torch.tensor([0.7, 0.3]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    >>> metric.update(probabilities.log(), torch.tensor([[[0, 0], [1, 1]]]))
    >>> metric.compute()  # 70 % sure, and right in 50 %
    tensor(0.2000, dtype=torch.float64)
    >>> metric.reset()
    >>> metric.update(torch.tensor([0.3, 0.7]).logit().view(1, 1, 1, 2), torch.tensor([[[0, 0]]]))
    >>> metric.compute()  # both 70 % sure, one right; torchmetrics: (|0 − 0.3| + |0 − 0.7|) / 2 = 0.5
    tensor(0.2000, dtype=torch.float64)
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    counts: Tensor
    hits: Tensor
    confidences: Tensor

    def __init__(self, bins: int = 15, ignore_index: int = IGNORE) -> None:
        super().__init__()
        if bins < 1:
            raise ValueError(f"bins must be at least 1, got {bins}: Guo et al. take 15")
        self.bins = bins
        self.ignore_index = ignore_index
        self.add_state("counts", torch.zeros(bins, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("hits", torch.zeros(bins, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("confidences", torch.zeros(bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, mask: Tensor, prediction: Tensor | None = None) -> None:
        """Add the logits and masks of a batch.

        Args:
            logits: (N,C,H,W), any floating dtype. C = 1 is one logit z, of the second of two classes: softmax(0, z).
            mask: (N,H,W), any integer dtype, class indices or `ignore_index`.
            prediction: (N,H,W), any integer dtype, the first class with the largest logit. None computes it, which
                takes longer than the rest of the update.

        Raises:
            ValueError: if a shape or dtype is wrong, a label is no class, or the logits of a valid pixel have no
                softmax; the state is then unchanged.
        """
        logits = _class_logits(logits.detach(), mask)
        predicted = logits.max(1).indices if prediction is None else prediction
        confusion_matrices(predicted, mask, logits.shape[1], self.ignore_index)  # raises if a pixel cannot be counted
        truth = mask.long()
        # Image by image, because a block of more than 32 MiB is new memory each time, and its first use costs as much
        # as the softmax.
        confidence = torch.stack([image.softmax(0).amax(0) for image in logits]).double()
        number = (confidence * self.bins).ceil_().long().clamp_(1, self.bins)  # exact: a float32 confidence times `bins` fits float64
        number = number.mul_(truth != self.ignore_index).flatten()  # 0: not counted
        confidences = self.confidences.new_zeros(self.bins + 1).index_add_(0, number, confidence.flatten())[1:]
        if not confidences.isfinite().all():
            raise ValueError(
                "logits must be finite, or −∞ for a class that cannot be, got NaN or ∞ in a valid pixel: has training diverged?"
            )
        cell = number.to(narrowest(2 * self.bins + 1)) * 2 + (predicted == truth).flatten()
        missed, hit = torch.bincount(cell, minlength=2 * self.bins + 2).view(-1, 2)[1:].unbind(1)
        self.counts += missed + hit
        self.hits += hit
        self.confidences += confidences

    def compute(self) -> Tensor:
        """Return the error over all processes, 0-dim float64 in [0, 1]; NaN before the first valid pixel."""
        return (self.hits - self.confidences).abs().sum() / self.counts.sum()


def _class_logits(logits: Tensor, mask: Tensor) -> Tensor:
    """Check the shapes of logits (N,C,H,W) and mask (N,H,W), and return one logit per class in at least float32."""
    if logits.ndim != 4 or not logits.is_floating_point():
        raise ValueError(f"logits must be (N,C,H,W) and floating, got {tuple(logits.shape)} {logits.dtype}")
    n, classes, h, w = logits.shape
    if tuple(mask.shape) != (n, h, w):
        raise ValueError(f"mask must be (N,H,W) = {(n, h, w)} to match logits {tuple(logits.shape)}, got {tuple(mask.shape)}")
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return torch.cat([torch.zeros_like(wide), wide], dim=1) if classes == 1 else wide
