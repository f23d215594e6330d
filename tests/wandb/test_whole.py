"""Whole studies from the training to the dashboard: tuned arms, and a run on two devices."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.study.scripts import SCRIPT
from tests.wandb.server import WandbServer
from tests.wandb.test_dashboard import named

ROOT = Path(__file__).parents[2]
SEGLAB = ("-c", "from seglab.cli import main; main()")


def command(server: WandbServer, place: Path, *words: object) -> str:
    """Run Python in `place` with W&B offline, and return what it printed."""
    given = {**os.environ, **server.environment("offline"), "WANDB_SILENT": "true", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, *map(str, words)]
    done = subprocess.run(line, cwd=place, env=given, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_rows(server: WandbServer, runs: Path) -> None:
    """Each finished run is at W&B once, with the rows of its `metrics.csv`."""
    expected = {}
    for path in runs.rglob("metrics.csv"):
        if "wandb" not in path.parts:
            with path.open() as file:
                expected[str(path.parent)] = [int(row["step"]) for row in csv.DictReader(file)]
    found = {run.config["folder"]: [row["trainer/global_step"] for row in run.rows] for run in server.runs.values()}
    assert found == expected
    assert {run.exit_code for run in server.runs.values()} == {0}


@pytest.mark.weekly
def test_two_studies_in_one_project(wandb_server: WandbServer, tmp_path: Path) -> None:
    """Two arms and three seeds each: groups of W&B are the arms of one study, and never of both."""
    for name in ("one", "other"):
        for arm in ("none", "l2"):
            command(wandb_server, tmp_path, SCRIPT, "run", "--name", name, "--arm", arm, "--seeds", 3)
    command(wandb_server, tmp_path, *SEGLAB, "sync", tmp_path / "runs")
    runs = list(wandb_server.runs.values())
    assert {run.project for run in runs} == {"seglab"}
    arms = {f"{study}/{arm}": 3 for study in ("one", "other") for arm in ("none", "l2")}
    assert Counter(run.group for run in runs) == arms
    assert Counter(f"{run.config['study']}/{run.config['arm']}" for run in runs) == arms
    assert len({frozenset(run.config) for run in runs}) == 1
    assert_rows(wandb_server, tmp_path)


@pytest.mark.weekly
def test_a_tuned_study(wandb_server: WandbServer, tmp_path: Path) -> None:
    said = command(wandb_server, tmp_path, SCRIPT.with_name("tuned_experiment.py"), "run")
    folder = tmp_path / "runs" / "tuned"
    assert said.count("W&B: offline;") == 1, "its two stages say it once"
    count = len([path for path in folder.rglob("result.json") if "wandb" not in path.parts])
    command(wandb_server, tmp_path, *SEGLAB, "sync", folder)
    assert len(wandb_server.runs) >= count
    groups = Counter((run.group, run.job_type, run.config["phase"]) for run in wandb_server.runs.values())
    assert {(group, job, phase) for group, job, phase in groups if phase == "final"} == {
        ("tuned/none", "train", "final"),
        ("tuned/l2", "train", "final"),
    }
    assert {(group, job) for group, job, phase in groups if phase == "tuning"} == {
        ("tuned-tuning/none", "tuning"),
        ("tuned-tuning/l2", "tuning"),
    }
    assert all(run.config["study"] == "tuned" and run.config["setting"] is not None for run in wandb_server.runs.values())
    command(wandb_server, tmp_path, *SEGLAB, "dashboard", folder)
    logged = {key for run in wandb_server.runs.values() for key in run.keys}
    logged |= {f"config:{key}" for run in wandb_server.runs.values() for key in run.config}
    views = json.loads((folder / "dashboard.json").read_text())["workspaces"]
    assert [view["displayName"] for view in views] == ["tuned", "tuned: tuning"]
    assert [view.title for view in wandb_server.views] == ["tuned", "tuned: tuning"]
    for view in views:
        names = set(named(view["spec"]))
        assert len(names) > 4
        assert names <= logged, names - logged


@pytest.mark.weekly
def test_a_run_on_two_devices(wandb_server: WandbServer, tmp_path: Path) -> None:
    """The first rank alone logs, its pictures too."""
    words = ("run", "--arm", "none", "--seed", 0, "--accelerator", "cpu", "--devices", 2)
    command(wandb_server, tmp_path, SCRIPT, *words)
    directory = tmp_path / "runs" / "tiny" / "none" / "seed-0"
    assert len(list(directory.glob("wandb/offline-run-*"))) == 1
    command(wandb_server, tmp_path, *SEGLAB, "sync", directory)
    (run,) = wandb_server.runs.values()
    assert_rows(wandb_server, tmp_path)
    assert (run.group, len(run.table("test/images")[1])) == ("tiny/none", 6)
    assert [len(row["val/predictions"]["filenames"]) for row in run.rows if "val/predictions" in row]
