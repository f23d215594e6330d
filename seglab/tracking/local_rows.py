"""Count the rows of a run in the local logs of W&B, also in those of a process that was killed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HEADER = 7
"""Bytes of a log without a record."""


def logs(directory: Path, run_id: str, kind: str) -> list[Path]:
    """Return the local logs of a run in the order of their start.

    Args:
        directory: folder of the run.
        run_id: id of the run at W&B.
        kind: `offline-run` or `run`, as W&B names the folders of offline and of online attempts.
    """
    # W&B adds -1, -2 … to the folders of attempts that start within one second
    return sorted((directory / "wandb").glob(f"{kind}-[0-9]*_[0-9]*-{run_id}*/run-{run_id}.wandb"))


def numbers(log: Path) -> list[int]:
    """Return the numbers of the rows in a log, by W&B's own reader, up to the place where a killed process left it."""
    return list(_numbers(log)) if log.stat().st_size > HEADER else []


def mark_uploaded(log: Path) -> None:
    """Mark a log so that `wandb sync` skips it, because its rows are logged elsewhere."""
    log.with_name(f"{log.name}.synced").touch()


def is_uploaded(log: Path) -> bool:
    """Return whether `wandb sync` would skip a log."""
    return log.with_name(f"{log.name}.synced").exists()


def _numbers(log: Path) -> Iterator[int]:
    reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
    text = subprocess.run(reader, capture_output=True, text=True, check=False, timeout=120).stdout
    for line in text.splitlines():
        record = json.loads(line)
        if record.get("type") == "history":
            yield int(record["history"]["item"]["_step"])
