"""Every arm's score in every class, from frequent to rare, for the terminal and the report."""

import math
from collections.abc import Sequence

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from seglab.compare import words
from seglab.compare.numbers.classes import from_frequent_to_rare, values_of
from seglab.records import Result


def class_headers(results: Sequence[Result], split: str, score: str) -> list[str]:
    """`arm`, then the classes."""
    return ["arm", *from_frequent_to_rare(results[0], split)]


def class_rows(results: Sequence[Result], split: str, score: str) -> list[list[str]]:
    """The share of pixels of each class where it is known, then one row per arm: the mean over its seeds, in percent.

    Raises:
        ValueError: a result has no such score.
    """
    names = from_frequent_to_rare(results[0], split)
    rows = []
    if "frequency" in results[0].per_class.get(split, {}):
        rows.append(["pixels", *_percent(values_of(results[0], split, "frequency", names))])
    for arm in dict.fromkeys(result.run.arm for result in results):
        found = np.array([values_of(result, split, score, names) for result in results if result.run.arm == arm])
        rows.append([arm, *_percent([_mean(column) for column in found.T])])
    return rows


def class_legend(split: str, score: str) -> str:
    """What the table shows."""
    return (
        f"{words.metric_name(f'{split}/{score}')} in percent, mean over the seeds; classes from frequent to rare. "
        "Exploratory: differences by class and their intervals are in the report."
    )


def classes_to_table(results: Sequence[Result], split: str = "test", score: str = "iou") -> Group:
    """For `rich.console.Console().print`."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, collapse_padding=True)
    for place, name in enumerate(class_headers(results, split, score)):
        table.add_column(Text(name), justify="right" if place else "left", overflow="fold")
    for row in class_rows(results, split, score):
        table.add_row(*map(Text, row), style="dim" if row[0] == "pixels" else "")
    return Group(table, Text(), Text(class_legend(split, score), style="dim"))


def _mean(values: np.ndarray) -> float:
    """Over the seeds in which the class is defined."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else math.nan


def _percent(values: Sequence[float]) -> list[str]:
    return [words.number(100 * value, 1) for value in values]
