"""Weight penalties, and the ways to apply one."""

from seglab.regularizers.base import Applied, ByGradient, Regularizer, StepSizes, Weight
from seglab.regularizers.penalties import L1, L2, ElasticNet, SmoothL1
from seglab.regularizers.proximal import Proximal
from seglab.regularizers.steps import OptimizerStepSizes

__all__ = [
    "L1",
    "L2",
    "Applied",
    "ByGradient",
    "ElasticNet",
    "OptimizerStepSizes",
    "Proximal",
    "Regularizer",
    "SmoothL1",
    "StepSizes",
    "Weight",
]
