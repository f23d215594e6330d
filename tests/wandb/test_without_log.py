"""A run that W&B cannot log at all has its result all the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.study.scripts import SCRIPT

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_log_that_cannot_be_written_costs_no_result(tmp_path: Path) -> None:
    """A file is where W&B's folder would be."""
    run = tmp_path / "runs" / "tiny" / "none" / "seed-0"
    run.mkdir(parents=True)
    (run / "wandb").write_text("no folder")
    words = ("run", "--arm", "none", "--seed", "0", "--wandb", "offline")
    given = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(SCRIPT), *words], cwd=tmp_path, env=given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (run / "result.json").exists()
    assert "W&B" in (run / "log.txt").read_text()
