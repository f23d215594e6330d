"""Read the `metrics.csv` that Lightning's CSVLogger writes into the folder of each run."""

import csv
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from seglab.records import Run


class Cell(NamedTuple):
    """One logged value as text, with the epoch and the optimizer step of its row. `epoch` and `step` can be empty."""

    epoch: str
    step: str
    value: str


@dataclass(frozen=True)
class RunLog:
    """Logged columns of one run."""

    run: Run
    columns: Mapping[str, Sequence[Cell]] = field(default_factory=dict)
    """Non-empty cells by column, in the order of the file."""
    problem: str = ""
    """Why the file cannot be read; empty if it was read."""

    def by_epoch(self, column: str) -> dict[int, float]:
        """Return the finite values of a column by epoch.

        A resumed run can repeat an epoch; its last value counts.

        Raises:
            ValueError: a cell is not a number.
        """
        return _finite((cell.epoch, cell.value) for cell in self.columns.get(column, ()))

    def by_step(self, column: str) -> dict[int, float]:
        """Return the finite values of a column by optimizer step, as `by_epoch` does by epoch."""
        return _finite((cell.step, cell.value) for cell in self.columns.get(column, ()))

    def by_stage(self, quantity: str) -> dict[str, dict[int, float]]:
        """Return the finite values of the columns `stage/<stage>/<quantity>`, by stage and optimizer step.

        Stages without any are left out, and so is every stage if a cell is not a number: the notes of the learning curves name such files.
        """
        parts = {name: name.split("/") for name in self.columns}
        stages = {name: part[1] for name, part in parts.items() if len(part) == 3 and part[0] == "stage" and part[2] == quantity}
        try:
            curves = {stage: self.by_step(name) for name, stage in stages.items()}
        except ValueError:
            return {}
        return {stage: curve for stage, curve in curves.items() if curve}


def read_logs(folder: Path, runs: Sequence[Run], wanted: Collection[str]) -> tuple[RunLog, ...]:
    """Read the log of each run of a study's folder once.

    Args:
        folder: folder of the study.
        runs: runs of the study.
        wanted: names of columns, with `*` as a wildcard, such as `stage/*/lr`.
    """
    return tuple(_read(run, run.directory(folder) / "metrics.csv", wanted) for run in runs)


def _read(run: Run, path: Path, wanted: Collection[str]) -> RunLog:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return RunLog(run, _columns(file, wanted))
    except OSError as error:
        return RunLog(run, problem=error.strerror or str(error))
    except (ValueError, csv.Error) as error:
        return RunLog(run, problem=str(error))


def _columns(lines: Iterable[str], wanted: Collection[str]) -> dict[str, list[Cell]]:
    rows = csv.reader(lines)
    header = next(rows, [])
    places = {name: place for place, name in enumerate(header)}
    chosen = [(place, name) for name, place in places.items() if any(fnmatchcase(name, pattern) for pattern in wanted)]
    columns: dict[str, list[Cell]] = {name: [] for _, name in chosen}
    epoch, step = places.get("epoch"), places.get("step")
    for row in rows:
        row += [""] * (len(header) - len(row))  # the last line of a run that was killed can be short
        for place, name in chosen:
            if row[place]:
                columns[name].append(Cell("" if epoch is None else row[epoch], "" if step is None else row[step], row[place]))
    return columns


def _finite(pairs: Iterable[tuple[str, str]]) -> dict[int, float]:
    values = {int(place): float(value) for place, value in pairs if place}
    return {place: value for place, value in values.items() if math.isfinite(value)}
