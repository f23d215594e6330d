"""Lightning callbacks: the order of a training step, checkpoints, logs and checks of a training."""

from seglab.callbacks.diagnostics import WeightDiagnostics
from seglab.callbacks.finite import FiniteLoss, NonFiniteLossError
from seglab.callbacks.pictures import PredictionPictures
from seglab.callbacks.randomness import StepRandomness
from seglab.callbacks.resume import ResumeCheckpoint
from seglab.callbacks.step_order import StepOrder
from seglab.callbacks.throughput import Throughput

__all__ = [
    "FiniteLoss",
    "NonFiniteLossError",
    "PredictionPictures",
    "ResumeCheckpoint",
    "StepOrder",
    "StepRandomness",
    "Throughput",
    "WeightDiagnostics",
]
