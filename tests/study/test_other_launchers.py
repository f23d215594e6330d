"""Variables of other launchers (torchrun, MPI, a shell in a job, a W&B sweep) change nothing that a run writes."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from seglab.script.inherited import forget_other_launchers
from tests.study.attempts import TIMING
from tests.study.scripts import SCRIPT

TORCHRUN = {
    "RANK": "3",
    "LOCAL_RANK": "3",
    "GROUP_RANK": "1",
    "ROLE_RANK": "3",
    "NODE_RANK": "1",
    "ROLE_NAME": "default",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "4",
    "ROLE_WORLD_SIZE": "4",
    "MASTER_ADDR": "192.0.2.1",
    "MASTER_PORT": "1",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_RESTART_COUNT": "2",
}
MPI = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "PMI_RANK": "3",
    "PMI_SIZE": "4",
    "PMIX_RANK": "3",
    "MPI_LOCALRANKID": "3",
    "MPI_LOCALNRANKS": "4",
    "JSM_NAMESPACE_RANK": "3",
    "JSM_NAMESPACE_LOCAL_RANK": "3",
    "JSM_NAMESPACE_SIZE": "4",
    "LSB_JOBID": "7",
}
SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "mine",
    "SLURM_NTASKS": "4",
    "SLURM_NPROCS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "3",
    "SLURM_NODEID": "1",
    "SLURM_NNODES": "2",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_NODELIST": "n[1-2]",
}
SWEEP = {
    "WANDB_SWEEP_ID": "foreign",
    "WANDB_RUN_ID": "foreign",
    "WANDB_NAME": "foreign",
    "WANDB_RUN_GROUP": "foreign",
    "WANDB_JOB_TYPE": "foreign",
    "WANDB_RESUME": "must",
    "WANDB_DIR": "foreign",
    "WANDB_CONFIG_PATHS": "foreign.yaml",
    "WANDB_SWEEP_PARAM_PATH": "foreign.yaml",
    "WANDB_PROGRAM": "foreign",
}
SEEDS = {"PL_GLOBAL_SEED": "99", "PL_SEED_WORKERS": "1", "PYTHONHASHSEED": "99"}
SETS = {"torchrun": TORCHRUN, "mpi": MPI, "slurm": SLURM, "sweep": SWEEP, "seeds": SEEDS}
ALL = {name: value for variables in SETS.values() for name, value in variables.items()}

RUN = (sys.executable, str(SCRIPT), "run", "--epochs", "1", "--seeds", "1")
ONE = ("--arm", "none", "--seed", "0")
WAYS: dict[str, tuple[str, ...]] = {
    "run": (*RUN, *ONE),
    "two at a time": (*RUN, "--jobs", "2"),
    "on two devices": (*RUN, *ONE, "--devices", "2", "--accelerator", "cpu"),
    "in a job": tuple(
        f"{sys.executable} -m seglab.cluster.job seglab.cluster.slurm_job.SlurmJob python {SCRIPT} work --epochs 1 --seeds 1".split()
    ),
}
Written = Callable[[str, dict[str, str]], dict[str, Any]]


def everything(folder: Path) -> dict[str, Any]:
    """Return what a study has written: names of files and the content that matters.

    Times, logs and owners of leases are left out.
    """
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = re.sub(r"offline-run-\d+_\d+", "offline-run", str(path.relative_to(folder)))
        if path.name == "settings.yaml":
            found[name] = yaml.safe_load(path.read_text())
        elif path.name == "result.json":
            result = json.loads(path.read_text())
            found[name] = {**result, "cost": {key: value for key, value in result["cost"].items() if key not in TIMING}}
        elif path.name == "metrics.csv":
            with path.open() as file:
                found[name] = [{key: cell for key, cell in row.items() if not key.startswith("perf/")} for row in csv.DictReader(file)]
        elif path.name == "last.ckpt":
            weights = torch.load(path, weights_only=True)["state_dict"]
            found[name] = {key: value.numpy().tobytes() for key, value in weights.items()}
        elif path.suffix == ".wandb":
            found[name] = run_at_wandb(path)
        elif path.is_file() and not {"logs", "media", "data", "record"} & set(path.parts) and path.name != "predictions.png":
            found[name] = None
    return found


def run_at_wandb(log: Path) -> dict[str, Any]:
    """Return an offline run's id, name, group, job type, project, tags, notes, sweep and configuration.

    W&B's own reader reads the run.
    """
    reader = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json"]
    read = subprocess.run([*reader, str(log)], capture_output=True, text=True, check=True, timeout=120).stdout
    run: dict[str, Any] = next(record["run"] for record in map(json.loads, read.splitlines()) if record["type"] == "run")
    own = {key: value for key, value in run.pop("config")["update"].items() if key not in ("_wandb", "folder")}
    own["notes"] = run.pop("notes").splitlines()[0]  # the second line is the folder
    return {key: value for key, value in run.items() if key not in ("start_time", "host", "git")} | {"own": own}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Return what one of `WAYS` writes under some variables. Without variables it is written once."""
    clean: dict[str, dict[str, Any]] = {}

    def write(way: str, variables: dict[str, str]) -> dict[str, Any]:
        if not variables and way in clean:
            return clean[way]
        place = tmp_path_factory.mktemp("place")
        if way == "in a job":
            variables = {"SLURM_JOB_ID": "7", **variables}
            (place / "runs" / "tiny").mkdir(parents=True)
            planned(tmp_path_factory, place / "runs" / "tiny" / "study.json")
        done = subprocess.run(WAYS[way], cwd=place, env={**os.environ, **variables}, capture_output=True, text=True, timeout=400)
        assert done.returncode in (0, 1 if way == "in a job" else 0), done.stdout + done.stderr
        assert not (place / "foreign").exists()
        found = everything(place / "runs")
        assert any(name.endswith("result.json") for name in found), done.stdout + done.stderr
        if variables in ({}, {"SLURM_JOB_ID": "7"}):
            clean[way] = found
        return found

    records: list[Path] = []

    def planned(factory: pytest.TempPathFactory, target: Path) -> None:
        if not records:
            place = factory.mktemp("planned")
            done = subprocess.run(RUN, cwd=place, env={**os.environ, "WANDB_MODE": "disabled"}, capture_output=True, text=True, timeout=400)
            assert done.returncode == 0, done.stdout + done.stderr
            records.append(place / "runs" / "tiny" / "study.json")
        shutil.copy(records[0], target)

    return write


OFTEN = (("run", "all"), ("in a job", "all"))
"""The cases that are tested at each change."""


@pytest.mark.parametrize(
    ("way", "variables"),
    [
        pytest.param(way, name, marks=pytest.mark.slow if (way, name) in OFTEN else pytest.mark.weekly)
        for way in WAYS
        for name in (*SETS, "all")
    ],
)
def test_what_is_written_is_the_same(way: str, variables: str, written: Written) -> None:
    assert written(way, ALL if variables == "all" else SETS[variables]) == written(way, {})


@pytest.mark.parametrize("variables", SETS)
def test_other_launchers_are_forgotten(variables: str) -> None:
    mine = {"WANDB_MODE": "offline", "WANDB_API_KEY": "k", "WANDB_PROJECT": "p", "WANDB_ENTITY": "e", "WANDB_BASE_URL": "u"}
    mine |= {"CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "2", "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1", "JOB_ID": "8"}
    environment = {**SETS[variables], **mine}
    forget_other_launchers(environment)
    stays = {"SLURM_JOB_NAME", "SLURM_NNODES", "SLURM_JOB_NUM_NODES", "SLURM_NODELIST", "LSB_JOBID", "PYTHONHASHSEED"}
    assert environment == {name: value for name, value in {**SETS[variables], **mine}.items() if name in {*mine, *stays}}
