"""Run `wandb sync` in a process that ends with the process that started it, so that two never upload one run."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

POLL_SECONDS = 0.2
END_SECONDS = 5.0
"""Time that `wandb sync` gets to end after an interruption."""

_PROBLEM = re.compile(r"(?:ERROR|Error:) (.*)")


def upload(paths: Sequence[Path], jobs: int, done: Callable[[Collection[Path]], None]) -> list[str]:
    """Upload logs. Each log that is uploaded gets a marker beside it, `<log>.synced`.

    Args:
        paths: the logs; those of one run are uploaded in the order of their start.
        jobs: number of runs that are uploaded at the same time.
        done: is called again and again with the logs that are uploaded.

    Returns:
        The errors that W&B has reported, one line each.
    """
    words = [sys.executable, "-m", "seglab.dashboard.upload", "sync", "--yes", "--verbose", "-n", str(jobs), *map(str, paths)]
    environment = {**os.environ, "WANDB_SILENT": "false", "WANDB_DIR": tempfile.gettempdir()}
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    assert process.stdin is not None
    problems: list[str] = []
    reader = threading.Thread(target=_read, args=(process, problems), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            done([path for path in paths if path.with_name(f"{path.name}.synced").exists()])
            time.sleep(POLL_SECONDS)
        reader.join()
        done([path for path in paths if path.with_name(f"{path.name}.synced").exists()])
    finally:
        _end(process)
    return problems


def _read(process: "subprocess.Popen[str]", problems: list[str]) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            said = _PROBLEM.search(line)
            if said is not None:
                problems.append(said[1].strip())


def _end(process: "subprocess.Popen[str]") -> None:
    """End the process and W&B's service, which it has started."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _with_its_parent() -> None:
    """Kill this process and what it has started, once the parent has ended or has closed this process's input."""
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_with_its_parent, daemon=True).start()
    from wandb.cli.cli import cli

    cli(prog_name="wandb")
