"""Names of the numbers of a run at W&B, and the rows of `metrics.csv` as W&B gets them.

Row i of `metrics.csv` is the row of W&B with `_step` i. A column keeps its name, with one exception: the learning rate
of a stage, the column `stage/<stage>/lr`, is `lr/<stage>`, because `stage/` is hidden from the automatic panels.
"""

import csv
import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import wandb

STEP = "trainer/global_step"
"""Axis of all curves: number of the optimizer step, from 0. The column `step` of `metrics.csv`."""

HIDDEN = ("stage/*", "perf/*", "val/dice/*", "val/boundary_iou/*")
"""Numbers without an automatic panel. They are logged, and panels of your own can show them."""

BEST: Mapping[str, int] = {"val/miou": 1, "val/dice": 1, "val/loss": -1}
"""Curves whose best value is a value of the run: the largest (1), or the smallest (-1).

The best of `val/miou` is `best/val_miou`, and its step is `best/step`. W&B's own `define_metric(..., summary="max")` is
not used: it would put an object in the place of `val/miou`, which is the score of the trained network, as in
`result.json`.
"""

_RATE = re.compile("stage/(.+)/lr")

Row = dict[str, float]


def define(run: "wandb.Run") -> None:
    """Tell W&B the axis of all curves, and the numbers that get no automatic panel."""
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP, step_sync=True)
    for name in HIDDEN:
        run.define_metric(name, step_metric=STEP, step_sync=True, hidden=True)


def shown(row: Mapping[str, float]) -> Row:
    """Return a row with its names at W&B.

    >>> shown({"stage/encoder.0/lr": 0.1, "trainer/global_step": 3})
    {'lr/encoder.0': 0.1, 'trainer/global_step': 3}
    """
    return {name if (rate := _RATE.fullmatch(name)) is None else f"lr/{rate[1]}": value for name, value in row.items()}


def rows_of(text: str) -> Iterator[Row]:
    """Yield the rows of the text of a `metrics.csv`, with the step under the name `STEP`."""
    for cells in csv.DictReader(text.splitlines()):
        yield {STEP if name == "step" else name: _number(cell) for name, cell in cells.items() if cell}


def better(best: Mapping[str, float], row: Mapping[str, float]) -> Row:
    """Return the best values that a row replaces, under their names at W&B. Of equal values, the first stays.

    >>> better({"best/val_miou": 0.5, "best/val_loss": 0.3}, {"val/miou": 0.4, "val/loss": 0.2, STEP: 8})
    {'best/val_loss': 0.2}
    >>> better({}, {"val/miou": 0.4, STEP: 8})
    {'best/val_miou': 0.4, 'best/step': 8}
    """
    found: Row = {}
    for name, sign in BEST.items():
        key = f"best/{name.replace('/', '_')}"
        if sign * row.get(name, math.nan) > sign * best.get(key, -sign * math.inf):
            found[key] = row[name]
            if name == "val/miou":
                found["best/step"] = row.get(STEP, math.nan)
    return found


def is_of_the_end(row: Mapping[str, float]) -> bool:
    """Return whether a finished run's row holds scores of the trained network on the test or the training split."""
    return "train/miou" in row or any(name.startswith("test/") for name in row)


def _number(cell: str) -> float:
    try:
        return int(cell)
    except ValueError:
        return float(cell)
