"""Weight penalties, and the wrappers that change how, where and when a penalty acts."""

from seglab.regularizers.anchored import Anchored
from seglab.regularizers.applied import Applied, ByGradient, Route, StepSizes, Term
from seglab.regularizers.decoupled import Decoupled
from seglab.regularizers.fixed_norm import FixedNorm
from seglab.regularizers.group_lasso import GroupLasso, filters
from seglab.regularizers.hoyer import HoyerSquare
from seglab.regularizers.named import penalties_at, penalties_of
from seglab.regularizers.orthogonality import Orthogonality
from seglab.regularizers.overview import fraction_below_beta, log_overview
from seglab.regularizers.penalties import L1, L2, ElasticNet, SmoothL1
from seglab.regularizers.penalty import Penalty
from seglab.regularizers.per_stage import PerStage
from seglab.regularizers.proximal import Proximal
from seglab.regularizers.regularizer import Regularizer, Wrapper, nested
from seglab.regularizers.relative import Relative
from seglab.regularizers.scheduled import Constant, Cosine, LinearWarmup, Scheduled
from seglab.regularizers.spectral import Spectral
from seglab.regularizers.steps import OptimizerStepSizes, check_preconditioner
from seglab.regularizers.sum import Sum
from seglab.regularizers.weight import Kind, Part, Weight
from seglab.regularizers.where import Where

__all__ = [
    "L1",
    "L2",
    "Anchored",
    "Applied",
    "ByGradient",
    "Constant",
    "Cosine",
    "Decoupled",
    "ElasticNet",
    "FixedNorm",
    "GroupLasso",
    "HoyerSquare",
    "Kind",
    "LinearWarmup",
    "OptimizerStepSizes",
    "Orthogonality",
    "Part",
    "Penalty",
    "PerStage",
    "Proximal",
    "Regularizer",
    "Relative",
    "Route",
    "Scheduled",
    "SmoothL1",
    "Spectral",
    "StepSizes",
    "Sum",
    "Term",
    "Weight",
    "Where",
    "Wrapper",
    "check_preconditioner",
    "filters",
    "fraction_below_beta",
    "log_overview",
    "nested",
    "penalties_at",
    "penalties_of",
]
