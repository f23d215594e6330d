"""Learning curves."""

from collections.abc import Mapping, Sequence

from seglab.compare.logs.log import Index, RunLog

COLUMN = "val/miou"
"""The score of the learning curves."""

LOGGED: Mapping[str, Index] = {COLUMN: "epoch"}

Curves = Mapping[str, Mapping[int, Mapping[int, float]]]
"""Value by arm, seed and epoch (or optimizer step)."""


def curves_of(logs: Sequence[RunLog], column: str = COLUMN) -> tuple[Curves, tuple[str, ...]]:
    """Return the curve of `column` by epoch in each run, and a note for each run without one."""
    curves: dict[str, dict[int, Mapping[int, float]]] = {}
    notes = []
    for log in logs:
        curve = log.columns.get(column, {})
        problem = log.problem or log.damaged.get(column, "" if curve else f"metrics.csv has no {column}")
        if problem:
            notes.append(f"{log.run.arm}, seed {log.run.seed}: no learning curve ({problem})")
        else:
            curves.setdefault(log.run.arm, {})[log.run.seed] = curve
    return curves, tuple(notes)
