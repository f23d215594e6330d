"""Say in one line whether the runs of a study are at W&B. No wandb and no torch, so that `status` starts at once."""

import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from seglab.dashboard.local import STATE, logs_below, not_uploaded, partly_logged, state_of, without_log
from seglab.running.status import count


def at_start(mode: str, folder: Path) -> str:
    """Return the line that `run` prints before the first run.

    Args:
        mode: `online`, `offline` or `disabled`.
        folder: the study's folder.
    """
    if mode == "disabled":
        return "W&B: disabled"
    if mode == "offline":
        return f"W&B: offline; {sync_command(folder)} uploads the runs later"
    project = os.environ.get("WANDB_PROJECT", "seglab")
    known = sorted(page for page in _pages(folder) if page.endswith(f"/{project}"))
    if known:
        return f"W&B: online, {', '.join(known)}"
    place = os.environ.get("WANDB_BASE_URL")
    return f"W&B: online, project {project}{f' at {place}' if place else ''}"


class Answer:
    """W&B's answer to the first run that starts: the project's page, or the reason why W&B cannot be reached.

    Args:
        folder: the study's folder.
        runs: folders of the runs that are to be online.
    """

    def __init__(self, folder: Path, runs: Sequence[Path]) -> None:
        self.folder = folder
        self.runs = runs
        self._since = time.time()
        self._known = _pages(folder) if runs else set()

    def line(self) -> str | None:
        """Return the line that `run` prints about the answer.

        Return None before the answer, after the line was returned once, and for a page that is known.
        """
        for run in self.runs:
            state = state_of(run)
            if not state or _written_at(run) < self._since:  # of an earlier attempt
                continue
            self.runs = ()
            if state.get("mode") == "online":
                page = _project_page(run)
                return None if page is None or page in self._known else f"W&B: {page}"
            return f"W&B: offline, because it cannot be used ({state.get('problem')}); {sync_command(self.folder)} uploads the runs later"
        return None


def at_end(folder: Path, mode: str) -> list[str]:
    """Return the lines that `run` prints after the last run: which runs are not at W&B, and which never will be.

    Args:
        folder: the study's folder.
        mode: that of `run`: `online`, `offline` or `disabled`.
    """
    logs = logs_below(folder)
    without = [] if mode == "disabled" else without_log(folder, logs)
    lines = []
    if left := left_over(folder):
        lines.append(left)
    elif running := partly_logged(logs):
        lines.append(
            f"W&B: {count(len(running), 'run')} still running, by its lease; {sync_command(folder)} uploads what is left afterwards"
        )
    elif logs:
        pages = _pages(folder)
        which = "runs with a log" if without else "all runs"
        lines.append(f"W&B: {which} are uploaded{': ' + ', '.join(sorted(pages)) if pages else ''}")
    if without:
        lines.append(f"{unlogged(without)} (see {without[0] / 'log.txt'})")
    return lines


def standing(folder: Path) -> list[str]:
    """Return the lines of `status` and `sync`: the runs that are not at W&B, and the finished runs that have no log.

    Args:
        folder: a study's folder, or that of several.
    """
    without = without_log(folder, logs_below(folder))
    return [line for line in (left_over(folder), unlogged(without) if without else None) if line is not None]


def unlogged(runs: Sequence[Path]) -> str:
    """Return a line about finished runs that have no log."""
    why = "W&B was disabled, it could not write one, or it was deleted"
    return f"W&B: {count(len(runs), 'finished run')} without a log ({why}); metrics.csv and result.json hold all numbers"


def left_over(folder: Path) -> str | None:
    """Return a line with the number of runs not at W&B and the command that uploads them; None without such runs."""
    left = len(not_uploaded(folder))
    return f"W&B: {count(left, 'run')} not uploaded; {sync_command(folder)} does it" if left else None


def sync_command(folder: Path) -> str:
    """Return the command that uploads the runs below a folder."""
    return f"seglab sync {shlex.quote(str(folder))}"


def _pages(folder: Path) -> set[str]:
    """Return the addresses of the projects that have online runs of a study."""
    runs = {log.run for log in logs_below(folder)} if folder.is_dir() else set()
    return {page for run in runs if (page := _project_page(run)) is not None}


def _project_page(run: Path) -> str | None:
    """Return the address of the project of an online run; None if it is unknown."""
    url = state_of(run).get("url")
    return str(url).partition("/runs/")[0] if url else None


def _written_at(run: Path) -> float:
    """Return the time at which the state of a run's log was written; 0 without one."""
    try:
        return (run / STATE).stat().st_mtime
    except OSError:
        return 0.0
