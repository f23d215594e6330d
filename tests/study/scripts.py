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
