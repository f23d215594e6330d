"""Studies that are really run: the script, its workers, Lightning, W&B offline."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.study.scripts import SCRIPT, Command


@pytest.fixture
def experiment(tmp_path: Path) -> Command:
    """Run the script in `tmp_path`, as a user does, and give what it printed."""

    def run(*words: object, cwd: Path = tmp_path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, str(SCRIPT), *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of 3 arms × 2 seeds that has run to its end. Read it; whoever changes it copies it."""
    folder = tmp_path_factory.mktemp("finished")
    done = subprocess.run([sys.executable, str(SCRIPT), "run"], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "printed.txt").write_text(done.stdout)
    return folder / "runs" / "tiny"
