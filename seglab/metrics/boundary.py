"""Boundary IoU: the IoU of the pixels near the contours, which is sensitive to small errors of large objects."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from seglab.metrics.confusion import check_classes, confusion_matrices, narrowest
from seglab.sample import IGNORE


class BoundaryIoU(Metric):
    """Boundary IoU of each class over a data set (Cheng et al. 2021, arXiv:2103.16562): |G_d∩P_d| / |G_d∪P_d|.

    Let G be the truth of a class. G_d are its pixels that have a pixel outside of G at most d rows and d columns away.
    P_d are the same for the prediction P. These are the pixels that d erosions by 3×3 remove, as in the authors' code.
    Pixels outside of the image are of no class, so that the border of the image is contour. Ignored pixels are removed
    from truth and prediction alike: both have the same hole, and the rim of the hole is contour.

    d is 2 % of the diagonal of the image, at least 1. It is computed from the size of each image without padding, so
    that padding changes nothing. Pixels are summed over all images, batches and processes before they are divided.

    Args:
        num_classes: C ≥ 2.
        ignore_index: the mask value of ignored pixels; none of the classes.
        ratio: d in parts of the image's diagonal, in (0, 1].

    Raises:
        ValueError: if there are fewer than two classes, `ignore_index` is one of them, or `ratio` is outside of (0, 1].

    >>> square, shifted = torch.zeros(2, 1, 5, 5, dtype=torch.uint8)
    >>> square[0, 1:4, 1:4], shifted[0, 1:4, 2:5] = 1, 1
    >>> metric = BoundaryIoU(num_classes=2)
    >>> metric.update(shifted, square)
    >>> metric.compute()[1]  # 8 pixels each, without the middle, have 4 in common
    tensor(0.3333, dtype=torch.float64)
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    intersection: Tensor
    union: Tensor

    def __init__(self, num_classes: int, ignore_index: int = IGNORE, ratio: float = 0.02) -> None:
        super().__init__()
        check_classes(num_classes, ignore_index)
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio must be in (0, 1], parts of the image's diagonal, got {ratio}: the paper's is 0.02")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.ratio = ratio
        self.add_state("intersection", torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("union", torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, mask: Tensor, size: Tensor | None = None) -> None:
        """Add predictions (N,H,W) and masks (N,H,W), both of any integer dtype.

        Args:
            prediction: class indices.
            mask: class indices or `ignore_index`.
            size: (N,2) integer, rows and columns of each image; pixels below and to the right are padding. None: all
                images are H×W.

        Raises:
            ValueError: as `confusion_matrices`, or if `size` does not fit these images; the state is then unchanged.
        """
        confusion_matrices(prediction, mask, self.num_classes, self.ignore_index)  # raises if a pixel cannot be counted
        valid = mask.to(narrowest(max(self.num_classes, abs(self.ignore_index)))) != self.ignore_index
        labels = self.num_classes + 1  # class c is label c + 1, and label 0 is no class, so that products remove pixels
        dtype = torch.uint8 if labels <= 256 else narrowest(labels)
        pairs = torch.stack([mask.to(dtype), prediction.to(dtype)], 1).add_(1).mul_(valid.unsqueeze(1))
        total = torch.zeros(labels**2, dtype=torch.int64, device=mask.device)
        for (rows, columns), pair in zip(_sizes(size, mask), pairs, strict=True):
            inside = pair[:, :rows, :columns]
            distance = max(1, round(self.ratio * math.hypot(rows, columns)))
            truth, predicted = (inside * near_contour(inside, distance, outside=0)).to(narrowest(labels**2))
            total += torch.bincount((truth * labels + predicted).flatten(), minlength=labels**2)
        matrix = total.view(labels, labels)
        both = matrix.diagonal()[1:]
        self.intersection += both
        self.union += matrix.sum(0)[1:] + matrix.sum(1)[1:] - both

    def compute(self) -> Tensor:
        """Return the boundary IoU (C,) float64 over all processes; NaN for a class in neither truth nor prediction."""
        return self.intersection.double() / self.union


def near_contour(labels: Tensor, distance: int, outside: int) -> Tensor:
    """Return whether the square of 2·`distance` + 1 pixels around each pixel holds a label other than the pixel's own.

    These are the pixels that `distance` erosions by 3×3 remove from the pixels of each label, for all labels at once.

    Args:
        labels: (…,H,W) integer.
        distance: at least 1.
        outside: the label of all pixels outside of the image.

    Returns:
        (…,H,W) bool.
    """
    low = high = F.pad(labels, [distance] * 4, value=outside)
    for dim in (-2, -1):
        low = _over_windows(torch.minimum, low, dim, 2 * distance + 1)
        high = _over_windows(torch.maximum, high, dim, 2 * distance + 1)
    return low != high


def _over_windows(extreme: Callable[[Tensor, Tensor], Tensor], values: Tensor, dim: int, width: int) -> Tensor:
    """Return the minimum or maximum over each window of `width` values along `dim`.

    Each round combines two overlapping or adjacent windows of the round before, so that the width of the windows at
    most doubles.
    """
    span = 1
    while span < width:
        step = min(span, width - span)
        kept = values.shape[dim] - step
        values = extreme(values.narrow(dim, 0, kept), values.narrow(dim, step, kept))
        span += step
    return values


def _sizes(size: Tensor | None, mask: Tensor) -> list[list[int]]:
    """Return the rows and columns of each image; raise a ValueError if `size` does not fit the mask."""
    n, height, width = mask.shape
    if size is None:
        return [[height, width]] * n
    if tuple(size.shape) != (n, 2) or size.is_floating_point():
        raise ValueError(f"size must be ({n},2) integer, rows and columns of each image, got {tuple(size.shape)} {size.dtype}")
    sizes: list[list[int]] = size.tolist()
    if any(not (1 <= rows <= height and 1 <= columns <= width) for rows, columns in sizes):
        raise ValueError(f"size must be within the {height}×{width} pixels of the masks, got {sizes}: rows first, then columns")
    return sizes
