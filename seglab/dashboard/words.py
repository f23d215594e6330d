"""Say in one line whether the runs of a study are at W&B. No wandb and no torch, so that `status` starts at once."""

import json
import os
import shlex
from pathlib import Path

from seglab.dashboard.local import logs_below, not_uploaded
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
        return f"W&B: offline; {_command(folder)} uploads the runs later"
    place = os.environ.get("WANDB_BASE_URL")
    return f"W&B: online, project {os.environ.get('WANDB_PROJECT', 'seglab')}{f' at {place}' if place else ''}"


def at_end(folder: Path) -> str | None:
    """Return the line that `run` prints after the last run; None if no run has a log of W&B."""
    if left := left_over(folder):
        return left
    logs = logs_below(folder)
    if not logs:
        return None
    pages = {page for log in logs if (page := _project_page(log.run)) is not None}
    return f"W&B: all runs are uploaded{': ' + ', '.join(sorted(pages)) if pages else ''}"


def left_over(folder: Path) -> str | None:
    """Return a line with the number of runs that are not at W&B and the command that uploads them; None if there are none."""
    left = len(not_uploaded(folder))
    return f"W&B: {count(left, 'run')} not uploaded; {_command(folder)} does it" if left else None


def _command(folder: Path) -> str:
    return f"seglab sync {shlex.quote(str(folder))}"


def _project_page(run: Path) -> str | None:
    """Return the address of the project of an online run; None if it is unknown."""
    try:
        url = json.loads((run / "wandb" / "seglab.json").read_text(encoding="utf-8"))["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(url).partition("/runs/")[0] if url else None
