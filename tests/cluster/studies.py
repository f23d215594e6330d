"""The study that the clusters' tests run, and what they look at."""

import json
from collections.abc import Callable
from pathlib import Path

import torch

from seglab.cluster.jobs import submissions
from tests.cluster.waiting import wait

SCRIPT = Path(__file__).with_name("slow_experiment.py")

Script = Callable[..., str]
"""`script(*words, step=0.0, code=0)` runs the experiment with `step` seconds a training step and returns its output."""


def numbers(run: Path) -> tuple[list[object], dict[str, list[float]]]:
    """Return the scores and weights of a run, without what depends on the clock."""
    raw = json.loads((run / "result.json").read_text())
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    weights = {name: tensor.flatten().tolist() for name, tensor in checkpoint["state_dict"].items()}
    return [raw[name] for name in ("identity", "val", "test", "per_class")], weights


def the_job(folder: Path) -> str:
    """Return the id of the one job that was submitted."""
    (submission,) = submissions(folder)
    (job,) = submission.ids
    return job


def wait_for_training(run: Path) -> None:
    """Wait until a run has made some steps."""
    wait(f"the training of {run.name}", (run / "progress.json").exists, 240)
