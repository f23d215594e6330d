"""Damaged files are read or refused by one line with their name, without another exception, a crash or a hang."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.fuzz import main

ROOT = Path(__file__).parents[2]


def read_damaged(seed: int, count: int, folder: Path) -> None:
    command = [sys.executable, "-m", "tests.data.fuzz", str(seed), str(count), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{done.stderr[-2000:]} {[file.name for file in folder.iterdir()]}"
    check_both(json.loads(done.stdout), count)


def check_both(came: dict[str, int], count: int) -> None:
    assert came["read"] + came["refused"] == 2 * count
    assert min(came.values()) > count / 10, "neither is all there is"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_few_damaged_files_are_read_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process: a new one would import Lightning first."""
    main(0, 150, tmp_path)
    check_both(json.loads(capsys.readouterr().out), 150)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_damaged_files_are_read_or_refused(seed: int, tmp_path: Path) -> None:
    read_damaged(seed, 500, tmp_path)
