"""`seglab sync`: upload the logs of runs that W&B does not have, each row once.

`wandb sync` marks a log as uploaded when all of it is. If it is killed before, it would send the rows again that the
server already has. Therefore the server is asked for its number of rows first. If it has a part of a log, a copy of the
rest is uploaded.
"""

import contextlib
import csv
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from seglab.dashboard.local import LocalLog
from seglab.dashboard.server import ServedRun, Server
from seglab.dashboard.upload import upload
from seglab.running import ledger
from seglab.transaction_log import Contents, read_contents, write_rest

LIVE_SECONDS = ledger.STALE_SECONDS
"""A log that was not closed, and was written to within this time, may belong to a process that is alive."""


@dataclass(frozen=True)
class LogPart:
    """A log that is to be uploaded, without the rows that the server has."""

    log: LocalLog
    contents: Contents
    skipped: int
    """Number of its first rows that the server has."""


@dataclass
class Attempts:
    """The logs of one run, in the order of their starts. Logs of one run have one id."""

    run: Path
    logs: list[tuple[LocalLog, Contents]]
    parts: list[LogPart] = field(default_factory=list)
    """Logs to upload."""
    complete: list[LocalLog] = field(default_factory=list)
    """Online logs that the server has as a whole."""
    rows: int = 0
    """Number of rows that the server must have in the end."""

    @property
    def place(self) -> tuple[str, str]:
        """Return entity and project."""
        return self.logs[0][1].entity, self.logs[0][1].project

    @property
    def id(self) -> str:
        """Return the run's id at W&B."""
        return self.logs[0][1].run_id


def read_attempts(logs: Iterable[LocalLog], problems: list[str]) -> tuple[list[Attempts], list[Path]]:
    """Read the logs of the runs of which one is not marked as uploaded.

    Args:
        logs: the logs, those of one run behind each other.
        problems: gets a line for each log that cannot be read, and is left out.

    Returns:
        The runs, and the folders of further runs that are still running.
    """
    found, running = [], []
    for (run, _), same in groupby(logs, key=lambda log: (log.run, log.path.name)):
        attempts = list(same)
        if all(log.is_uploaded for log in attempts):
            continue
        if ledger.state(run) == "running":
            running.append(run)
            continue
        readable = []
        for log in attempts:
            try:
                readable.append((log, read_contents(log.path)))
            except (ValueError, OSError) as error:
                if not log.is_uploaded:
                    problems.append(
                        f"{error}: it cannot be uploaded, and the run's metrics.csv has its numbers; delete its folder to ignore it"
                    )
        if readable and _is_written(run, *readable[-1]):
            running.append(run)
        elif readable:
            found.append(Attempts(run, readable))
    return found, running


def _is_written(run: Path, log: LocalLog, contents: Contents) -> bool:
    """Return whether a process may still write a log. `seglab fit` takes no lease, so the log's age decides there."""
    if contents.has_ended or any(run.glob("lease.*")) or (run / "result.json").exists():
        return False
    return time.time() - log.path.stat().st_mtime < LIVE_SECONDS


def plan(attempts: Attempts, served: ServedRun | None) -> None:
    """Find out which logs of a run are to be uploaded, and from which row on.

    The rows of a run are numbered. An offline log that begins again at 0, though an earlier log has rows, continues the
    earlier one.
    """
    there = 0 if served is None else served.rows
    total = end = 0
    for log, contents in attempts.logs:
        first = contents.first_step or 0
        if log.is_offline and contents.rows > 0 and first < end:
            first += end
        start = total - max(0, end - first)  # an online log may begin with rows that an earlier log has too
        total, end = max(total, start + contents.rows), max(end, first + contents.rows)
        if log.is_uploaded:
            continue
        skipped = min(max(there - start, 0), contents.rows)
        is_there = served is not None and skipped == contents.rows
        if is_there and not log.is_offline and (served.has_ended or not (attempts.run / "result.json").exists()):  # type: ignore[union-attr]
            attempts.complete.append(log)
        else:
            attempts.parts.append(LogPart(log, contents, skipped))
    attempts.rows = total


def send(parts: Sequence[LogPart], jobs: int, done: Callable[[int], None]) -> list[str]:
    """Upload logs, mark those that are uploaded, and return the problems.

    Args:
        parts: the logs; those of one run follow each other.
        jobs: number of runs at the same time.
        done: is called again and again with the number of logs that are uploaded.
    """
    with tempfile.TemporaryDirectory(prefix="seglab-sync-") as place:
        originals = dict(_staged(parts, Path(place)))

        def note(uploaded: Collection[Path]) -> None:
            for path in uploaded:
                with contextlib.suppress(FileNotFoundError):  # its folder was deleted meanwhile
                    originals[path].marker.touch()
            done(len(uploaded))

        return upload(list(originals), jobs, note)


def _staged(parts: Sequence[LogPart], place: Path) -> Iterator[tuple[Path, LocalLog]]:
    """Yield the file that is uploaded for each log: the log itself, or a copy of a part of it.

    If one log of a run has such a copy, all logs of the run are copied, because `wandb sync` orders the logs of a run
    by their paths.
    """
    for number, (_, same) in enumerate(groupby(parts, key=lambda part: (part.log.run, part.log.path.name))):
        attempts = list(same)
        if all(part.skipped == 0 and part.contents.is_whole and part.log.is_offline for part in attempts):
            yield from ((part.log.path, part.log) for part in attempts)
            continue
        for part in attempts:
            folder = place / str(number) / f"offline-{part.log.path.parent.name.removeprefix('offline-')}"
            folder.mkdir(parents=True)
            (folder / "files").symlink_to(part.log.path.parent.absolute() / "files")
            write_rest(part.log.path, folder / part.log.path.name, part.skipped)
            yield folder / part.log.path.name, part.log


@contextlib.contextmanager
def claimed(runs: Sequence[Path], problems: list[str]) -> Iterator[set[Path]]:
    """Yield the folders of the runs that no other process uploads now.

    Two processes that upload one run would send its rows twice.
    """
    leases: dict[Path, ledger.Lease | None] = {}
    try:
        for folder in sorted({run.parent for run in runs}):
            leases[folder] = ledger.claim(folder / ".sync")
            if leases[folder] is None:
                owner = ledger.owner(folder / ".sync") or "another process"
                problems.append(f"{folder}: {owner} uploads its runs now; they are left to it")
        yield {run for run in runs if leases[run.parent] is not None}
    finally:
        for lease in leases.values():
            if lease is not None:
                lease.release()


def rows_of_table(run: Path) -> int | None:
    """Return the number of rows in a finished run's `metrics.csv`, each a row at W&B; None if the two may differ.

    Runs of seglab 0.3 and older, which lack `wandb/seglab.json`, logged some rows to one of both only.
    """
    if not (run / "result.json").exists() or not (run / "wandb" / "seglab.json").exists():
        return None
    try:
        with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
            return max(0, sum(1 for _ in csv.reader(file)) - 1)
    except (OSError, ValueError, csv.Error):
        return None


def ask(server: Server, attempts: Sequence[Attempts]) -> Mapping[tuple[str, str, str], ServedRun]:
    """Return what the server has of runs, by entity, project and id."""
    found: dict[tuple[str, str, str], ServedRun] = {}
    for place in sorted({one.place for one in attempts}):
        ids = {one.id for one in attempts if one.place == place}
        found |= {(*place, run_id): run for run_id, run in server.runs(*place, ids).items()}
    return found
