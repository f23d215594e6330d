"""Count predictions while a split is evaluated."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seglab.callbacks.finite import NonFiniteLossError
from seglab.metrics import BoundaryIoU, CalibrationError, ConfusionMatrix, Scores, image_scores, scores
from seglab.networks.forward import classes, has_nan
from seglab.sample import Batch


class Evaluation(nn.Module):
    """Counts a split's predictions: the confusion matrix of each image and of all, and other scores on request.

    Args:
        num_classes: C ≥ 2.
        ignore_index: mask value that is not counted.
        boundary_iou: add the score `boundary_iou`, per class and as the mean over classes.
        calibration_error: add the mean score `calibration_error`.
    """

    def __init__(self, num_classes: int, ignore_index: int, boundary_iou: bool = False, calibration_error: bool = False) -> None:
        super().__init__()
        self.confusion = ConfusionMatrix(num_classes, ignore_index, per_image=True)
        self.boundary = BoundaryIoU(num_classes, ignore_index) if boundary_iou else None
        self.calibration = CalibrationError(ignore_index=ignore_index) if calibration_error else None
        self.names: list[str] = []

    def reset(self) -> None:
        """Forget all predictions."""
        self.names = []
        for metric in (self.confusion, self.boundary, self.calibration):
            if metric is not None:
                metric.reset()

    def update(self, logits: Tensor, batch: Batch) -> Tensor:
        """Count a batch and return its predicted classes (N,H',W') int64.

        Args:
            logits: (N,C,H',W'), at the size of the masks.
            batch: the batch.

        Raises:
            NonFiniteLossError: a logit is NaN.
        """
        prediction = classes(logits)
        self._check(logits, prediction, batch.name)
        self.confusion.update(prediction, batch.mask)
        if self.boundary is not None:
            self.boundary.update(prediction, batch.mask, batch.mask_size)
        if self.calibration is not None:
            self.calibration.update(logits, batch.mask, prediction)
        self.names += batch.name
        return prediction

    def score_names(self) -> tuple[list[str], list[str]]:
        """Return the names of the mean scores and of the scores per class that `scores` computes."""
        nothing = torch.zeros(1, self.confusion.num_classes, self.confusion.num_classes, dtype=torch.int64)
        counted = scores(nothing[0])
        means, per_class = [*counted.mean, *image_scores(nothing)], list(counted.per_class)
        if self.boundary is not None:
            means, per_class = [*means, "boundary_iou"], [*per_class, "boundary_iou"]
        return means if self.calibration is None else [*means, "calibration_error"], per_class

    def scores(self) -> Scores:
        """Return the scores over all images and all ranks."""
        found: Scores = self.confusion.compute()
        means, per_class = dict(found.mean), dict(found.per_class)
        if self.boundary is not None:
            per_class["boundary_iou"] = self.boundary.compute()
            means["boundary_iou"] = per_class["boundary_iou"].nanmean()
        if self.calibration is not None:
            means["calibration_error"] = self.calibration.compute()
        return found._replace(mean=means, per_class=per_class)

    def matrices(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return names and confusion matrices (N,C,C), truth × prediction, of the images that this rank evaluated."""
        images: list[Tensor] = list(self.confusion.images)
        return list(self.names), torch.cat(images).cpu().numpy().astype(np.int64)

    def _check(self, logits: Tensor, prediction: Tensor, names: Sequence[str]) -> None:
        """Check that no logit is NaN."""
        bad = has_nan(logits, prediction)
        if bad.any():
            raise NonFiniteLossError(
                f"the network's logits are NaN, first in {names[int(bad.nonzero()[0])]}: its weights or the image are not finite, or "
                "half precision has overflown. Lower the learning rate, clip gradients, or evaluate in 32-true"
            )
