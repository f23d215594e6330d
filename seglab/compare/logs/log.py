"""Read the `metrics.csv` that Lightning's CSVLogger writes into the folder of each run."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Literal

from seglab.records import Run

Index = Literal["epoch", "step"]


@dataclass(frozen=True)
class RunLog:
    """Logged columns of one run."""

    run: Run
    columns: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """Finite values by column, then by epoch or optimizer step. A resumed run can repeat an epoch or a step; its last
    value counts.
    """
    problem: str = ""
    """Reason why the file cannot be read; empty if it was read."""
    damaged: Mapping[str, str] = field(default_factory=dict)
    """Error of each damaged column, by column. A column is damaged if one of its cells is not a number."""

    def by_stage(self, quantity: str) -> dict[str, Mapping[int, float]]:
        """Return the columns `stage/<stage>/<quantity>` by stage. If one of them is damaged, return none."""
        parts = {name: name.split("/") for name in self.columns}
        stages = {name: part[1] for name, part in parts.items() if len(part) == 3 and part[0] == "stage" and part[2] == quantity}
        if self.damaged.keys() & stages.keys():
            return {}
        return {stage: self.columns[name] for name, stage in stages.items() if self.columns[name]}


def read_logs(folder: Path, runs: Sequence[Run], wanted: Mapping[str, Index]) -> tuple[RunLog, ...]:
    """Read the log of each run of a study's folder once.

    Args:
        folder: folder of the study.
        runs: runs of the study.
        wanted: names of columns, with `*` as a wildcard, such as `stage/*/lr`, and whether their values are indexed by
            epoch or by step.
    """
    return tuple(_read(run, run.directory(folder) / "metrics.csv", wanted) for run in runs)


def _read(run: Run, path: Path, wanted: Mapping[str, Index]) -> RunLog:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            columns, damaged = _columns(file, wanted)
    except OSError as error:
        return RunLog(run, problem=error.strerror or str(error))
    except (ValueError, csv.Error) as error:
        return RunLog(run, problem=str(error))
    return RunLog(run, {name: _finite(values) for name, values in columns.items()}, damaged=damaged)


def _columns(lines: Iterable[str], wanted: Mapping[str, Index]) -> tuple[dict[str, dict[int, float]], dict[str, str]]:
    """Return the values of the wanted columns, and the error of each damaged column."""
    rows = csv.reader(lines)
    header = next(rows, [])
    groups = _groups(tuple(header), tuple(wanted.items()))
    columns: dict[str, dict[int, float]] = {name: {} for group in groups.values() for _, name in group}
    damaged: dict[str, str] = {}
    for row in rows:
        row += [""] * (len(header) - len(row))  # the last line of a run that was killed can be short
        for place_of_index, group in groups.items():
            if not row[place_of_index]:
                continue
            at = int(row[place_of_index])
            for place, name in group:
                if value := row[place]:
                    try:
                        columns[name][at] = float(value)
                    except ValueError as error:
                        damaged[name] = str(error)
    return columns, damaged


@cache  # the runs of a study have few headers
def _groups(header: tuple[str, ...], wanted: tuple[tuple[str, Index], ...]) -> dict[int, list[tuple[int, str]]]:
    """Return the position of each index column, with the positions and names of the wanted columns that it indexes."""
    groups: dict[int, list[tuple[int, str]]] = {}
    for place, name in enumerate(header):
        index = next((index for pattern, index in wanted if fnmatchcase(name, pattern)), None)
        if index is not None and index in header:
            groups.setdefault(header.index(index), []).append((place, name))
    return groups


def _finite(values: dict[int, float]) -> dict[int, float]:
    if all(map(math.isfinite, values.values())):
        return values
    return {place: value for place, value in values.items() if math.isfinite(value)}
