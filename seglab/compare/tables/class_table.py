"""Tables of the classes, from frequent to rare."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Group

from seglab.compare.metric import Metric
from seglab.compare.numbers.classes import IOU, ClassContrast, PerClass, from_frequent_to_rare, values_of
from seglab.compare.tables.column import Block, Column, Table, to_group
from seglab.compare.unit import number, p_value
from seglab.records import Result


class ClassRow(NamedTuple):
    """Name of a row, and one fraction in [0, 1] for each class."""

    name: str
    values: Sequence[float]


PIXELS = "pixels"
"""Name of the row with the share of the truth's pixels that each class has."""


def class_table(results: Sequence[Result], metric: Metric = IOU) -> Table[ClassRow]:
    """Return the mean score over the seeds of each arm (row) in each class (column), in percent.

    The first row has the share of the pixels of each class, if it is known.

    Raises:
        ValueError: a result has no such score for each class.
    """
    names = from_frequent_to_rare(results[0], metric.split)
    classes = [_class_column(place, name) for place, name in enumerate(names)]
    return Table(
        [Column("arm", lambda row: row.name, align="left", wraps=True), *classes],
        [Block("", _rows(results, metric, names))],
        legend=f"{metric.title} in percent, mean over the seeds; classes from frequent to rare. "
        "Exploratory: differences by class and their intervals are in the report.",
        kind=lambda row: "aside" if row.name == PIXELS else "",
    )


def class_contrast_table(classes: PerClass) -> Table[ClassContrast]:
    """Return the difference from the baseline for each arm and class."""
    unit = classes.metric.unit
    return Table(
        [
            Column("class", lambda cell: cell.class_name, align="left", wraps=True),
            Column("arm", lambda cell: cell.arm, align="left", wraps=True),
            Column("pairs", lambda cell: str(cell.n)),
            Column("difference, points", lambda cell: unit.difference(cell.difference)),
            Column("95 % t interval", lambda cell: unit.interval(cell.low, cell.high)),
            Column("p", lambda cell: p_value(cell.p)),
            Column("p (BH)", lambda cell: p_value(cell.p_bh)),
        ],
        [Block("", classes.cells)],
        legend=f"Exploratory: adjusted over all {len(classes.cells)} cells for the rate of false discoveries (BH: Benjamini–Hochberg). "
        "It suggests questions; it does not answer the study's.",
    )


def classes_to_table(results: Sequence[Result], metric: Metric = IOU) -> Group:
    """Return `class_table` for `rich.console.Console().print`."""
    return to_group(class_table(results, metric))


def _class_column(place: int, name: str) -> Column[ClassRow]:
    return Column(name, lambda row: number(100 * row.values[place], 1), wraps=True)


def _rows(results: Sequence[Result], metric: Metric, names: Sequence[str]) -> list[ClassRow]:
    rows = []
    if "frequency" in results[0].per_class.get(metric.split, {}):
        rows.append(ClassRow(PIXELS, values_of(results[0], Metric(metric.split, "frequency"), names)))
    for arm in dict.fromkeys(result.run.arm for result in results):
        found = np.array([values_of(result, metric, names) for result in results if result.run.arm == arm])
        rows.append(ClassRow(arm, [_mean(column) for column in found.T]))
    return rows


def _mean(values: np.ndarray) -> float:
    """Return the mean over the seeds in which the class is defined; NaN if there is none."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else math.nan
