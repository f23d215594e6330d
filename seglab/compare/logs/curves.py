"""Learning curves out of the `metrics.csv` that Lightning's CSVLogger leaves in each run's folder."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from seglab.records import Run

Curves = Mapping[str, Mapping[int, Mapping[int, float]]]
"""Arm, then seed, then epoch: the value."""


def read_curves(folder: Path, runs: Sequence[Run], metric: str = "val/miou") -> tuple[Curves, tuple[str, ...]]:
    """The curves of `runs`, and one line for each run whose `metrics.csv` is missing, damaged or without `metric`."""
    curves: dict[str, dict[int, Mapping[int, float]]] = {}
    notes = []
    for run in runs:
        try:
            curve = _read_curve(run.directory(folder) / "metrics.csv", metric)
        except (OSError, ValueError, csv.Error) as error:
            curve = {}
            notes.append(f"{run.arm}, seed {run.seed}: no learning curve ({error.strerror if isinstance(error, OSError) else error})")
        if curve:
            curves.setdefault(run.arm, {})[run.seed] = curve
    return curves, tuple(notes)


def _read_curve(path: Path, metric: str) -> dict[int, float]:
    """Epoch to value. Rows of other metrics leave the cell empty; where a resumed run repeats an epoch, the later row counts."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(row.get("epoch"), row.get(metric)) for row in csv.DictReader(file)]
    curve = {int(epoch): float(value) for epoch, value in rows if epoch and value}
    finite = {epoch: value for epoch, value in curve.items() if math.isfinite(value)}
    if not finite:
        raise ValueError(f"metrics.csv has no {metric}")
    return finite
