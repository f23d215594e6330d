"""Table of the shifted test sets: one row for each shift, one column for each arm."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Group

from seglab.compare.metric import Metric
from seglab.compare.numbers.answer import ArmSummary, Comparison
from seglab.compare.tables.column import Block, Column, RowKind, Table, to_group
from seglab.compare.unit import UNDEFINED
from seglab.records import MEAN, SHIFT

_MEAN = (
    "Mean: over the severities of each corruption, then over the corruptions (mPC, Michaelis et al. 2019); other domains are not in it. "
)


class ShiftRow(NamedTuple):
    """Name of a row, and the metric that it shows."""

    name: str
    metric: Metric


def shift_table(comparison: Comparison) -> Table[ShiftRow] | None:
    """Return the mean score over the seeds of each arm on each shifted test set; None for a study without shifts.

    The score is that of the comparison if it is one of a whole split, else mIoU. The first row is the test split
    without a shift.
    """
    arms, metric = comparison.arms, comparison.criteria.metric
    found = dict.fromkeys(name.rpartition("/")[0] for arm in arms for name in arm.secondary if name.startswith(f"{SHIFT}/"))
    names = [split.removeprefix(f"{SHIFT}/") for split in found]
    if not names:
        return None
    score = metric.score if any(f"{SHIFT}/{names[0]}/{metric.score}" in arm.secondary for arm in arms) else "miou"
    rows = [ShiftRow("test", Metric("test", score))]
    rows += [
        ShiftRow(name, Metric(f"{SHIFT}/{name}", score)) for name in (*(name for name in names if name != MEAN), MEAN) if name in names
    ]
    title = rows[0].metric.name
    return Table(
        [Column("shift", lambda row: row.name, align="left"), *(_arm_column(arm, rows[0]) for arm in arms)],
        [Block("", rows)],
        legend=f"{title} of the test images, mean over the seeds. {_MEAN if MEAN in names else ''}No test is behind these "
        f"numbers: `compare --metric shift/NAME/miou` compares the arms under one shift.{_lacking(rows, arms)}",
        title=f"{comparison.study}: {title} under shifts",
        kind=_kind,
    )


def shifts_to_table(comparison: Comparison) -> Group | None:
    """Return `shift_table` for `rich.console.Console().print`; None for a study without shifts."""
    table = shift_table(comparison)
    return None if table is None else to_group(table)


def _lacking(rows: Sequence[ShiftRow], arms: Sequence[ArmSummary]) -> str:
    """Return a sentence on the arms of which some runs have no score under some shift; empty if there are none."""
    runs = {(row.name, arm.arm): _runs(arm, row) for row in rows for arm in arms}
    most = {arm.arm: runs[rows[0].name, arm.arm] for arm in arms}
    lacking = [f"{row} of {arm} ({number} of {most[arm]} runs)" for (row, arm), number in runs.items() if number < most[arm]]
    if not lacking:
        return ""
    return f" A mean over fewer runs is followed by their number: {', '.join(lacking)}; `run` with the same shifts tests the others."


def _runs(arm: ArmSummary, row: ShiftRow) -> int:
    """Return the number of runs of an arm that have a score in a row."""
    return arm.secondary[str(row.metric)].n if str(row.metric) in arm.secondary else 0


def _arm_column(arm: ArmSummary, first: ShiftRow) -> Column[ShiftRow]:
    runs = _runs(arm, first)

    def cell(row: ShiftRow) -> str:
        spread = arm.secondary.get(str(row.metric))
        if spread is None:
            return UNDEFINED
        value = row.metric.unit.value(spread.mean)
        return value if spread.n >= runs else f"{value} (n = {spread.n})"

    return Column(arm.arm, cell, wraps=True)


def _kind(row: ShiftRow) -> RowKind:
    return "baseline" if row.name == MEAN else "aside" if row.metric.split == "test" else ""
