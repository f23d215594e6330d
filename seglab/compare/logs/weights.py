"""What happened to the weights of each stage, out of the `metrics.csv` of each run (`stage/<stage>/<quantity>`)."""

import csv
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from seglab.compare.logs.curves import Curves
from seglab.records import Run

QUANTITIES = {
    "norm": "‖w‖",
    "effective_lr": "η/‖w‖² per filter",
    "ratio": "‖∇λR‖ / ‖∇L‖",
    "drift": "‖w − w⁰‖ / ‖w⁰‖",
    "zeros": "exact zeros",
}
"""Those that are drawn, and their labels."""

StageCurves = Mapping[str, Mapping[str, Curves]]
"""Quantity, then stage: the curves, by optimizer step in the place of the epoch."""


def read_stage_curves(folder: Path, runs: Sequence[Run]) -> StageCurves:
    """The curves of the runs that logged any; quantities that are 0 in all of them, and stages without any, are left out."""
    found: dict[str, dict[str, dict[str, dict[int, dict[int, float]]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for run in runs:
        try:
            curves = read_stages(run.directory(folder) / "metrics.csv", QUANTITIES)
        except (OSError, ValueError, csv.Error):
            continue  # the learning curves say what is wrong with it
        for (stage, quantity), curve in curves.items():
            found[quantity][stage][run.arm][run.seed] = curve
    return {quantity: dict(found[quantity]) for quantity in QUANTITIES if quantity in found and _any(found[quantity])}


def read_stages(path: Path, quantities: Collection[str]) -> dict[tuple[str, str], dict[int, float]]:
    """Stage and quantity: optimizer step to value. What is not finite is left out; where a resumed run repeats a step, the later counts."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns = {
            name: (parts[1], parts[2]) for name in reader.fieldnames or () if len(parts := name.split("/")) == 3 and parts[0] == "stage"
        }
        chosen = {name: key for name, key in columns.items() if key[1] in quantities}
        curves: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        if not chosen:
            return curves
        for row in reader:
            for name, key in chosen.items():
                if row[name] and row["step"] and math.isfinite(value := float(row[name])):
                    curves[key][int(row["step"])] = value
    return curves


def _any(stages: Mapping[str, Curves]) -> bool:
    return any(value for arms in stages.values() for seeds in arms.values() for curve in seeds.values() for value in curve.values())
