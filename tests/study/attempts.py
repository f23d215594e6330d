"""Attempts at a run, each a process of its own that may die.

They are forked from one that has imported torch already.
"""

import csv
import gc
import importlib
import json
import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch

FRAGILE = "fragile_experiment"
SCRIPT = Path(__file__).with_name(f"{FRAGILE}.py")
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["seglab.script.main", "seglab.module", "seglab.data", "albumentations", "wandb", "matplotlib.figure"])
TIMING = ("seconds", "training_seconds", "peak_memory_mib")


def started(folder: Path, *words: object, experiment: object = FRAGILE, **environment: object) -> ForkServerProcess:
    """`python fragile_experiment.py WORDS` in `folder`, or another of these experiments, running."""
    process = FORKS.Process(target=_be_the_script, args=(experiment, folder, [str(word) for word in words], environment))
    process.start()
    return process


def attempt(folder: Path, *words: object, experiment: object = FRAGILE, **environment: object) -> int:
    """The same to its end; its exit code, negative for a signal."""
    process = started(folder, *words, experiment=experiment, **environment)
    process.join(timeout=600)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def _be_the_script(experiment: object, folder: Path, words: list[str], environment: dict[str, object]) -> None:
    start = importlib.import_module(f"tests.study.{experiment}").start
    gc.freeze()  # a collection would copy all the pages that are shared with the others
    multiprocessing.set_start_method("fork", force=True)  # what a script has, and its loaders
    os.chdir(folder)
    with Path("printed.txt").open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= {name: str(value) for name, value in environment.items()}
    sys.argv = [str(SCRIPT.with_name(f"{experiment}.py")), *words]
    start()


def what_counts(run: Path) -> dict[str, Any]:
    """All that a run has found, without what its clock says."""
    result = json.loads((run / "result.json").read_text())
    result["cost"] = {name: value for name, value in result["cost"].items() if name not in TIMING}
    with (run / "metrics.csv").open() as file:
        rows = [{name: cell for name, cell in row.items() if not name.startswith("perf/")} for row in csv.DictReader(file)]
    weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return {"result": result, "rows": rows, "weights": {name: value.numpy().tobytes() for name, value in weights.items()}}


def leftovers(folder: Path) -> list[str]:
    """Temporary files, and checkpoints that only an unfinished run needs."""
    named = [str(path) for pattern in ("*.part", "*.part.*", ".clock.*", "resume*.ckpt", "*.prev.ckpt") for path in folder.rglob(pattern)]
    return sorted(set(named))
