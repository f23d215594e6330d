"""The learning rate of each stage at each step, as logged in `stage/<stage>/lr`; 0 means frozen."""

import math
from collections.abc import Mapping, Sequence

from seglab.compare.logs.log import Index, RunLog

LOGGED: Mapping[str, Index] = {"stage/*/lr": "step"}

Rates = Mapping[str, Mapping[int, float]]
"""Learning rate by stage and optimizer step."""
StageRates = Mapping[str, Rates]
"""Learning rates by arm."""


def rates_of(logs: Sequence[RunLog]) -> StageRates:
    """Return the rates of each arm, in its run with the lowest seed that logged any.

    Empty if in every arm all stages had the same rate at every step.
    """
    found: dict[str, Rates] = {}
    arms = list(dict.fromkeys(log.run.arm for log in logs))
    for log in sorted(logs, key=lambda log: (arms.index(log.run.arm), log.run.seed)):
        if log.run.arm not in found and (rates := log.by_stage("lr")):
            found[log.run.arm] = rates
    return found if any(map(_differ, found.values())) else {}


def _differ(rates: Rates) -> bool:
    """Return whether the stages have different rates at some step. A warm-up from 0 that all stages share is no
    difference.
    """
    first, *others = rates.values()
    return any(not math.isclose(rate, first[step], rel_tol=1e-6) for other in others for step, rate in other.items() if step in first)
