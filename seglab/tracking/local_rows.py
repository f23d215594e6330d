"""Count the rows of a run in the local logs of W&B, also in those of a process that was killed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def logs(directory: Path, run_id: str, kind: str) -> list[Path]:
    """Return the local logs of a run in the order of their start.

    Args:
        directory: folder of the run.
        run_id: id of the run at W&B.
        kind: `offline-run` or `run`, as W&B names the folders of offline and of online attempts.
    """
    return sorted((directory / "wandb").glob(f"{kind}-[0-9]*_[0-9]*-{run_id}/run-{run_id}.wandb"))


def rows_logged(paths: list[Path]) -> int:
    """Return the number of rows that can be read in logs of one run, which `wandb sync` would upload one after another."""
    return max((step + 1 for path in paths for step in _steps(path)), default=0)


def first_row(paths: list[Path]) -> int | None:
    """Return the number of the first row in logs of one run; None if they hold no row."""
    return min((step for path in paths for step in _steps(path)), default=None)


def _steps(log: Path) -> Iterator[int]:
    """Yield the row numbers in a log by W&B's own reader, up to the place where a killed process left it."""
    reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
    text = subprocess.run(reader, capture_output=True, text=True, check=False, timeout=120).stdout
    for line in text.splitlines():
        record = json.loads(line)
        if record.get("type") == "history":
            yield int(record["history"]["item"]["_step"])
