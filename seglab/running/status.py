"""The state of each run of a study (done, running, failed with its cause), read only from the run's folder.

No torch.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from seglab.records import Run, read_record, started_runs
from seglab.running import ledger


@dataclass(frozen=True)
class RunStatus:
    """State of one run."""

    run: Run
    state: ledger.State
    fraction: float
    """Fraction of the run that is done, in [0, 1]."""
    detail: str
    """Owner of a running run, cause of a failed run."""


def run_status(run: Run, folder: Path) -> RunStatus:
    """Read the state of a run from its folder."""
    directory = run.directory(folder)
    now = ledger.state(directory)
    if now == "done":
        return RunStatus(run, now, 1.0, "")
    if now == "running":
        return RunStatus(run, now, fraction_done(directory), str(ledger.owner(directory) or ""))
    return RunStatus(run, now, 0.0, _cause(directory) if now == "failed" else "")


def runs_in(folder: Path) -> list[Run]:
    """Return the runs of a study: those that it declares, and those that have a folder, in the order of its arms.

    The folders' names give arm and seed.
    """
    record = read_record(folder)
    study, analysis = (folder.name, None) if record is None else (record.study, record.analysis)
    declared = {Run(study, arm, seed) for arm in analysis.arms for seed in analysis.seeds} if analysis is not None else set()
    place = {arm: number for number, arm in enumerate(() if record is None else record.arms)}
    return sorted({*declared, *started_runs(folder, study)}, key=lambda run: (place.get(run.arm, len(place)), run.arm, run.seed))


def status_table(folder: Path, runs: Sequence[Run]) -> Table:
    """Return a table with a row for each arm: numbers of done, running, failed and open runs, and notes on them."""
    statuses = [run_status(run, folder) for run in runs]
    table = Table(
        title=f"{folder}: {sum(status.state == 'done' for status in statuses)} of {len(statuses)} runs done", title_justify="left"
    )
    for heading in ("arm", "done", "running", "failed", "open"):
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    table.add_column("notes", overflow="fold")
    for arm in dict.fromkeys(run.arm for run in runs):
        mine = [status for status in statuses if status.run.arm == arm]
        count = {state: sum(status.state == state for status in mine) for state in ("done", "running", "failed", "open", "interrupted")}
        counts = (count["done"], count["running"], count["failed"], count["open"] + count["interrupted"])
        table.add_row(arm, *map(str, counts), "\n".join(_shortened(_notes(mine))))
    return table


TRAINING_SHARE = 0.9
"""Fraction of a run that is training; the test comes after it."""


def fraction_done(directory: Path) -> float:
    """Return the fraction of an unfinished run that is done, in [0, 1)."""
    try:
        progress = json.loads((directory / "progress.json").read_text())
        return TRAINING_SHARE * min(1.0, float(progress["done"]) / max(1.0, float(progress["all"])))
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0  # the training has not begun, or the file is being written


def duration(seconds: float) -> str:
    """Return a duration for people, such as `45 s`, `12 min` or `3 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 run` or `2 runs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _shortened(lines: Sequence[str], shown: int = 12) -> list[str]:
    return [*lines[:shown], *([f"… and {len(lines) - shown} more"] if len(lines) > shown else [])]


def _notes(statuses: Iterable[RunStatus]) -> list[str]:
    """Return a line for each run that is not done. Runs that need attention come first."""
    order = ("failed", "running", "interrupted", "open", "done")
    lines = []
    for status in sorted(statuses, key=lambda status: order.index(status.state)):
        if status.state == "running":
            lines.append(f"seed {status.run.seed}: {status.fraction:.0%}, {status.detail}")
        elif status.state == "failed":
            lines.append(f"seed {status.run.seed} failed: {status.detail}")
        elif status.state == "interrupted":
            lines.append(f"seed {status.run.seed}: interrupted")
    return lines


def _cause(directory: Path) -> str:
    try:
        return str(json.loads((directory / "failure.json").read_text())["error"])
    except (OSError, ValueError, KeyError):
        return f"see {directory / 'log.txt'}"


class Clock:
    """Estimates the time left from the speed of the work since the clock was created."""

    def __init__(self, done: float) -> None:
        self._began = time.monotonic()
        self._done_at_start = done

    def left(self, done: float, all_work: float) -> float | None:
        """Return the seconds until `done` reaches `all_work`; None while nothing has been done since the start."""
        progressed = done - self._done_at_start
        return None if progressed <= 0 else (time.monotonic() - self._began) * (all_work - done) / progressed
