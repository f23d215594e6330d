"""Norm, drift, sparsity and other quantities of the weights of each stage, as logged in `stage/<stage>/<quantity>`."""

from collections.abc import Mapping, Sequence

from seglab.compare.logs.curves import Curves
from seglab.compare.logs.log import Index, RunLog

QUANTITIES = {
    "norm": "‖w‖",
    "effective_lr": "η/‖w‖² per filter",
    "ratio": "‖∇λR‖ / ‖∇L‖",
    "drift": "‖w − w⁰‖ / ‖w⁰‖",
    "zeros": "exact zeros",
}
"""Labels of the quantities that are drawn."""

LOGGED: Mapping[str, Index] = {f"stage/*/{quantity}": "step" for quantity in QUANTITIES}

StageCurves = Mapping[str, Mapping[str, Curves]]
"""Curves by quantity and stage; by optimizer step instead of by epoch."""


def stage_curves_of(logs: Sequence[RunLog]) -> StageCurves:
    """Return the curves of all runs that logged any. Quantities that are 0 in all runs are left out."""
    found: dict[str, dict[str, dict[str, dict[int, Mapping[int, float]]]]] = {}
    for quantity in QUANTITIES:
        stages: dict[str, dict[str, dict[int, Mapping[int, float]]]] = {}
        for log in logs:
            for stage, curve in log.by_stage(quantity).items():
                stages.setdefault(stage, {}).setdefault(log.run.arm, {})[log.run.seed] = curve
        if _any(stages):
            found[quantity] = stages
    return found


def _any(stages: Mapping[str, Curves]) -> bool:
    return any(value for arms in stages.values() for seeds in arms.values() for curve in seeds.values() for value in curve.values())
