"""Measure what W&B costs a training: `python -m tests.benchmarks wandb`.

python -m tests.benchmarks.wandb_modes ROOT SEED trains one run of the study in ROOT, and prints the seconds spent in W&B.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from seglab.records import read_result
from tests.benchmarks.study import of_command, one_thread, script, show

EPOCHS = 8
FLAGS = ("--accelerator", "cpu", "--rates", "1", "--seeds", "2", "--epochs", str(EPOCHS), "--arm", "lr-0", "--wandb", "offline")

SEEDS = {"offline": 1, "offline, with pictures of each validation": 0}
"""The first seed of a study logs pictures of its validations."""


def bench_wandb(console: Console) -> None:
    """Time the calls of W&B within a training: two trainings, one with W&B, differ by more than these calls take."""
    rows = {}
    with tempfile.TemporaryDirectory() as root:
        of_command(script("run", "--root", root, *FLAGS, "--seed", "1"))
        for mode, seed in SEEDS.items():
            shutil.rmtree(Path(root, "rates", "lr-0"))
            words = [sys.executable, "-m", "tests.benchmarks.wandb_modes", root, str(seed)]
            done = subprocess.run(words, check=True, capture_output=True, text=True, env=one_thread())
            spent = json.loads(done.stdout.splitlines()[-1])
            result = read_result(Path(root, "rates", "lr-0", f"seed-{seed}", "result.json"))
            training = result.cost["training_seconds"] - spent["start"]
            calls = spent["log_metrics"] + spent["log_pictures"]
            rows[mode] = (training / EPOCHS, calls / EPOCHS, 100 * calls / (training - calls), spent["start"])
    headings = ("an epoch, s", "of it W&B, s", "W&B, % of the rest", "start of W&B, s")
    show(console, f"W&B, a training of {EPOCHS} epochs on the CPU", headings, rows, ".3f")


def train(root: str, seed: str) -> None:
    """Train one run as a worker does, and print the seconds that W&B took: its start, its rows and its pictures."""
    from seglab.script.main import main
    from seglab.tracking import wandb_log, wandb_run
    from tests.benchmarks.short_experiment import study

    spent = {"start": 0.0, "log_metrics": 0.0, "log_pictures": 0.0}

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*given, **named)
            finally:
                spent[name] += time.perf_counter() - began

        return measured

    logger: Any = wandb_log.OnceLogger
    for name in ("log_metrics", "log_pictures"):
        setattr(logger, name, timed(name, getattr(logger, name)))
    parts: Any = wandb_run
    parts._started = timed("start", parts._started)
    sys.argv = [str(Path(__file__).with_name("short_experiment.py")), "work", "--root", root, *FLAGS, "--seed", seed]
    try:
        main(study)
    finally:
        print(json.dumps(spent))


if __name__ == "__main__":
    train(*sys.argv[1:])
