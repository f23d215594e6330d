"""Table of the tuning of a study: one row for each setting of each arm."""

import math
from typing import NamedTuple

from seglab.compare.numbers.tuning import Candidate, Choice
from seglab.compare.tables.column import Block, Column, RowKind, Table
from seglab.compare.tuning import Tuning
from seglab.records import SETTING


class TuningRow(NamedTuple):
    """A setting of an arm."""

    candidate: Candidate
    choice: Choice


def tuning_table(tuning: Tuning) -> Table[TuningRow]:
    """Return a table with a block for each arm: its settings, their scores, the chosen one and the cost of tuning."""
    metric = tuning.metric
    columns = [
        Column[TuningRow]("setting", lambda row: row.candidate.setting, align="left", wraps=True),
        Column[TuningRow]("n", lambda row: str(len(row.candidate.all))),
        Column[TuningRow](f"{metric.title} {metric.unit.level}".rstrip(), lambda row: _score(row.candidate, tuning)),
        Column[TuningRow]("", _place, align="left"),
    ]
    blocks = [Block(_heading(choice, tuning), [TuningRow(one, choice) for one in choice.candidates]) for choice in tuning.choices]
    return Table(columns, blocks, legend=_legend(tuning), kind=_kind)


def _score(candidate: Candidate, tuning: Tuning) -> str:
    return "diverged" if candidate.mean == -math.inf else tuning.metric.unit.mean_and_sd(candidate.mean, candidate.sd)


def _place(row: TuningRow) -> str:
    return "chosen" if row.candidate is row.choice.best else "final round" if row.candidate.final else ""


def _kind(row: TuningRow) -> RowKind:
    return "baseline" if row.candidate is row.choice.best else ""


def _heading(choice: Choice, tuning: Tuning) -> str:
    """Return the name of an arm, its ranges, the stability of its choice and its cost, as far as they are known."""
    ranges = "; ".join(_range(name, ends) for name, ends in tuning.spaces.get(choice.arm, {}).items())
    hours = tuning.seconds.get(choice.arm, 0.0) / 3600
    stable = "" if math.isnan(choice.stability) else f"same choice in {100 * choice.stability:.0f} % of redrawn seeds"
    return " · ".join(part for part in (choice.arm, ranges, stable, f"{_hours(hours)} of training") if part)


def _range(name: str, ends: dict[str, object]) -> str:
    """Return a recorded range as text, such as `lr 0.0001 to 0.01 (log)`."""
    if ends.get("scale") == "choice":
        values = ends.get("values")
        return f"{name} of {', '.join(map(str, values if isinstance(values, list | tuple) else ()))}"
    return f"{name} {ends.get('low'):g} to {ends.get('high'):g} ({ends.get('scale')})"


def _hours(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"


def _legend(tuning: Tuning) -> str:
    total = sum(tuning.seconds.values()) / 3600
    where = f" on {', '.join(tuning.devices)}" if tuning.devices else ""
    again = ""
    if tuning.declared.tunings > 1:
        again = f"Each arm was tuned {tuning.declared.tunings} times under other seeds; the number behind {SETTING} counts the tunings. "
    return (
        "Mean ± standard deviation over n tuning runs, scored on the validation split; the setting with the largest mean of the last round "
        "is chosen. Redrawn seeds: bootstrap draws of the tuning seeds, in which the settings of the last round compete again. "
        f"{again}All tuning runs took {_hours(total)} of training{where}, the runs at the same time added up."
    )
