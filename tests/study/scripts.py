"""The experiment that the tests run, and how."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SCRIPT = Path(__file__).with_name("tiny_experiment.py")

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def start(*words: object, cwd: Path) -> "subprocess.Popen[str]":
    """The script in `cwd`, running."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, words)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def seglab(*words: object, cwd: Path) -> tuple[int, str]:
    """Run the `seglab` command in `cwd`, and return its exit code and what it printed."""
    command = [sys.executable, "-c", "from seglab.cli import main; main()", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr
