"""Scores that join the result of a finished run reach W&B once: by `run` itself, or by `seglab sync`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seglab.dashboard.local import not_uploaded
from seglab.records import read_result
from tests.wandb.server import WandbServer

SCRIPT = Path(__file__).with_name("shifted_experiment.py")
ROOT = SCRIPT.parents[2]
RUN = Path("runs", "shifted", "none", "seed-0")


def command(server: WandbServer, folder: Path, *words: object) -> str:
    """Run Python in `folder`, and return what it printed."""
    given = {**os.environ, **server.environment(), "WANDB_SILENT": "true", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, env=given, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def run(server: WandbServer, folder: Path, shifts: str, mode: str) -> str:
    return command(server, folder, SCRIPT, "run", "--shifts", shifts, "--wandb", mode)


def sync(server: WandbServer, folder: Path) -> str:
    return command(server, folder, "-c", "from seglab.cli import main; main()", "sync", "runs")


def assert_the_same(server: WandbServer, folder: Path, shifts: set[str]) -> None:
    """The values of the run at W&B are those of its result; its tables are still there, and each row is there once."""
    (served,) = server.runs.values()
    result = read_result(folder / RUN / "result.json")
    assert {name.split("/")[1] for name in served.summary if name.startswith("shift/")} == {*shifts, "mean"}
    numbers = {name: value for name, value in result.numbers.items() if value == value}
    assert {name: served.summary[name] for name in numbers} == pytest.approx(numbers, rel=1e-6)
    assert {"test/classes", "test/images", "val/miou", "train/loss", "best/val_miou"} <= set(served.summary)
    rows = (folder / RUN / "metrics.csv").read_text().splitlines()[1:]
    assert [row["_step"] for row in served.rows] == list(range(len(rows)))
    assert served.exit_code == 0
    assert not_uploaded(folder / "runs") == []


@pytest.mark.weekly
def test_shifts_that_join_a_finished_run(wandb_server: WandbServer, tmp_path: Path) -> None:
    run(wandb_server, tmp_path, "noise-3", "offline")
    sync(wandb_server, tmp_path)
    assert_the_same(wandb_server, tmp_path, {"noise-3"})
    assert "all runs are uploaded" in run(wandb_server, tmp_path, "noise-3,jpeg-5", "online")
    assert_the_same(wandb_server, tmp_path, {"noise-3", "jpeg-5"})
    said = run(wandb_server, tmp_path, "noise-3,jpeg-5,blur-2", "offline")
    assert "W&B: 1 run not uploaded; seglab sync" in said
    assert not_uploaded(tmp_path / "runs") == [tmp_path / RUN]
    assert "1 run: the scores that have joined the result uploaded" in sync(wandb_server, tmp_path)
    assert_the_same(wandb_server, tmp_path, {"noise-3", "jpeg-5", "blur-2"})
    before = wandb_server.operations.copy()
    assert "nothing to upload" in sync(wandb_server, tmp_path)
    assert wandb_server.operations["file_stream"] == before["file_stream"]
    assert [artifact.name.startswith("run-record") for artifact in wandb_server.artifacts].count(True) == 3


@pytest.mark.weekly
def test_shifts_that_join_a_run_that_waits_in_its_log(wandb_server: WandbServer, tmp_path: Path) -> None:
    """An outage while the scores are uploaded costs no score, and the log goes first."""
    run(wandb_server, tmp_path, "noise-3", "offline")
    run(wandb_server, tmp_path, "noise-3,jpeg-5", "online")
    assert wandb_server.runs == {}
    sync(wandb_server, tmp_path)
    assert_the_same(wandb_server, tmp_path, {"noise-3", "jpeg-5"})
    wandb_server.break_down("refuse")
    assert "W&B: 1 run not uploaded" in run(wandb_server, tmp_path, "noise-3,jpeg-5,blur-2", "online")
    assert "W&B has not got the new scores of this run" in (tmp_path / RUN / "log.txt").read_text()
    wandb_server.recover()
    sync(wandb_server, tmp_path)
    assert_the_same(wandb_server, tmp_path, {"noise-3", "jpeg-5", "blur-2"})
