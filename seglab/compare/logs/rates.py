"""Which stage trained when: the learning rates that were applied, out of the `metrics.csv` of a run (`stage/<stage>/lr`; 0 is frozen)."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from seglab.compare.logs.weights import read_stages
from seglab.records import Run

Rates = Mapping[str, Mapping[int, float]]
"""Stage, then optimizer step: the rate."""
StageRates = Mapping[str, Rates]
"""By arm."""


def read_rates(folder: Path, runs: Sequence[Run]) -> StageRates:
    """Of each arm, its lowest seed with a log of them. Nothing at all if the stages of every arm had one rate in common at every step."""
    found: dict[str, Rates] = {}
    arms = list(dict.fromkeys(run.arm for run in runs))
    for run in sorted(runs, key=lambda run: (arms.index(run.arm), run.seed)):
        if run.arm not in found and (rates := _read(run.directory(folder) / "metrics.csv")):
            found[run.arm] = rates
    return found if any(map(_differ, found.values())) else {}


def _read(path: Path) -> Rates:
    try:
        return {stage: rates for (stage, _), rates in read_stages(path, ("lr",)).items()}
    except (OSError, ValueError, csv.Error):
        return {}  # the learning curves say what is wrong with it


def _differ(rates: Rates) -> bool:
    """Whether some stage has another rate than some other at the same step. A warm-up from 0, which all stages share, freezes none."""
    first, *others = rates.values()
    return any(not math.isclose(rate, first[step], rel_tol=1e-6) for other in others for step, rate in other.items() if step in first)
