"""Metrics of a data set: pixels are first summed over batches and processes, then divided.

The metrics therefore depend neither on the batch size, nor on padding, nor on the number of processes. `scores` of one
image's matrix are the scores of that image. `image_scores` are means of these over images; their names begin with
`image_`.
"""

from seglab.metrics.boundary import BoundaryIoU
from seglab.metrics.calibration import CalibrationError
from seglab.metrics.confusion import ConfusionMatrix, confusion_matrices
from seglab.metrics.per_image import image_scores
from seglab.metrics.scoring import Scores, scores

__all__ = ["BoundaryIoU", "CalibrationError", "ConfusionMatrix", "Scores", "confusion_matrices", "image_scores", "scores"]
