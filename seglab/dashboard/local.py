"""Find the logs that W&B has written into the folders of runs. No wandb, so that `status` starts at once."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seglab.running import ledger

_FOLDER = re.compile(r"(offline-)?run-\d{8}_\d{6}-.+")

STATE = Path("wandb", "seglab.json")
"""File in the folder of a run that says how its log stands."""

HEADER_BYTES = 7
"""Size of a log without any record, as a process leaves it that is killed at once."""


@dataclass(frozen=True, order=True)
class LocalLog:
    """The log of one attempt of a run: `RUN/wandb/[offline-]run-TIME-ID/run-ID.wandb`."""

    path: Path

    @property
    def run(self) -> Path:
        """Return the folder of the run, which W&B's folder is in."""
        return self.path.parents[2]

    @property
    def started(self) -> str:
        """Return the time at which the attempt has started, as in `20260131_235959`."""
        return self.path.parent.name.removeprefix("offline-")[4:19]

    @property
    def is_offline(self) -> bool:
        """Return whether the attempt has sent nothing to W&B."""
        return self.path.parent.name.startswith("offline-")

    @property
    def marker(self) -> Path:
        """Return the file by which `wandb sync` marks a log that is uploaded."""
        return self.path.with_name(f"{self.path.name}.synced")

    @property
    def is_uploaded(self) -> bool:
        """Return whether the log is marked as uploaded, or holds nothing. One that was deleted meanwhile is not."""
        try:
            return self.marker.exists() or self.path.stat().st_size <= HEADER_BYTES
        except FileNotFoundError:
            return False


def logs_below(folder: Path) -> list[LocalLog]:
    """Return all logs in a folder of runs, of studies or of one run, in the order of folders and of starts."""
    found = [LocalLog(path) for path in _logs(folder) if _FOLDER.fullmatch(path.parent.name)]
    return sorted(found, key=lambda log: (log.run, log.started, log.path.parent.name))


def _logs(folder: Path) -> Iterator[Path]:
    if _is_of_a_run(folder):
        yield from folder.glob("*run-*/run-*.wandb")
        return
    for place in sorted(folder.iterdir()):
        if place.is_dir() and not place.is_symlink():
            yield from _logs(place)


def _is_of_a_run(folder: Path) -> bool:
    """Return whether a folder is W&B's own in the folder of a run, and no user's folder that is called `wandb` too."""
    return folder.name == "wandb" and (any(folder.glob("*run-*/run-*.wandb")) or (folder / STATE.name).exists())


def finished_below(folder: Path) -> Iterator[Path]:
    """Yield the folders of the finished runs in a folder of runs, of studies or of one run."""
    if (folder / "result.json").is_file():
        yield folder
        return
    for place in sorted(folder.iterdir()):
        if place.is_dir() and not place.is_symlink() and not _is_of_a_run(place):
            yield from finished_below(place)


def not_uploaded(folder: Path) -> list[Path]:
    """Return the folders of the runs below `folder` that are not running, and are not at W&B as a whole."""
    logs = logs_below(folder)
    return sorted(run for run in {*partly_logged(logs), *lost(folder, logs), *rescored(folder)} if ledger.state(run) != "running")


def partly_logged(logs: Sequence[LocalLog]) -> set[Path]:
    """Return the folders of the runs with a log that is not at W&B as a whole, whether they are running or not."""
    offline = {log.run for log in logs if log.is_offline and not log.is_uploaded}
    return offline | {log.run for log in logs if not log.is_offline and not log.is_uploaded and not _said_complete(log.run)}


def rescored(folder: Path) -> list[Path]:
    """Return the folders of finished runs whose result got scores after their log ended, such as under a shift."""
    return [run for run in finished_below(folder) if lacks_scores(run) and ledger.state(run) != "running"]


def lacks_scores(run: Path) -> bool:
    """Return whether W&B lacks scores that have joined the result of a run."""
    return bool(state_of(run).get("lacks_scores", False))


def lost(folder: Path, logs: Sequence[LocalLog]) -> list[Path]:
    """Return the folders of finished runs whose log was deleted before it was complete.

    Their own files still have its numbers.

    Args:
        folder: folder of runs, of studies or of one run.
        logs: all logs in it.
    """
    logged = {log.run for log in logs}
    return [run for run in finished_below(folder) if run not in logged and not _said_complete(run)]


def without_log(folder: Path, logs: Sequence[LocalLog]) -> list[Path]:
    """Return the folders of finished runs that have no log, and whose numbers did not go to W&B directly.

    Args:
        folder: folder of runs, of studies or of one run.
        logs: all logs in it.
    """
    logged = {log.run for log in logs}
    left = (run for run in finished_below(folder) if run not in logged and _said_complete(run))
    return [run for run in left if state_of(run).get("mode") != "online"]


def state_of(run: Path) -> dict[str, Any]:
    """Return what a run says about its log; empty if it says nothing, or the file is damaged."""
    try:
        found = json.loads((run / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _said_complete(run: Path) -> bool:
    """Return whether the last attempt of a run has got everything to W&B, or into a log that is whole.

    A run that says nothing has.
    """
    return bool(state_of(run).get("complete", True))
