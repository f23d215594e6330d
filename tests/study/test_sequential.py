"""A sequential search that is killed in its second round and goes on ends as one that was left alone. End to end."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("sequential_experiment.py")
KILLED_AT = 5
"""Number of results: four of the first round, and one of the second."""


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(SCRIPT), "run", "--wandb", "disabled", *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def results(folder: Path) -> dict[str, Any]:
    """Return the scores and the identity of each finished run, by the path of its result."""
    paths = sorted(folder.rglob("result.json"))
    read = {str(path.relative_to(folder)): json.loads(path.read_text()) for path in paths}
    return {name: {field: found[field] for field in ("val", "test", "identity")} for name, found in read.items()}


@pytest.mark.weekly
def test_a_killed_search_ends_as_one_that_was_left_alone(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    killed = start(tmp_path, "--root", "killed")
    while killed.poll() is None and len(results(tmp_path / "killed")) < KILLED_AT:
        time.sleep(0.1)
    killed.kill()
    said, _ = killed.communicate()
    assert killed.returncode < 0, said
    for root in ("killed", "whole"):
        done = start(tmp_path, "--root", root)
        said, _ = done.communicate(timeout=900)
        assert done.returncode == 0, said
    whole = results(tmp_path / "whole")
    assert len(whole) == 2 * (4 + 3 + 1)
    assert results(tmp_path / "killed") == whole
    records = [(tmp_path / root / "sequential" / "tuning" / "study.json").read_text() for root in ("killed", "whole")]
    assert records[0] == records[1]
