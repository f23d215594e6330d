"""Metrics of a data set: pixels are summed first, over batches and processes, and divided last.

So they depend neither on the batch size, nor on padding, nor on the number of processes. `scores` of one image's matrix gives the scores
of that image: other numbers, with another name.
"""

from seglab.metrics.boundary import BoundaryIoU
from seglab.metrics.calibration import CalibrationError
from seglab.metrics.confusion import ConfusionMatrix, confusion_matrices
from seglab.metrics.scoring import Scores, scores

__all__ = ["BoundaryIoU", "CalibrationError", "ConfusionMatrix", "Scores", "confusion_matrices", "scores"]
