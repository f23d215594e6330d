"""Run `seglab fit` in processes forked from one with torch imported: real signals and exit codes, in a second."""

import csv
import gc
import multiprocessing
import os
import shutil
import signal
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple

import torch

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["seglab.fit", "seglab.data", "albumentations", "wandb", "segmentation_models_pytorch"])

CONFIG = """
model:
  network: {class_path: mine.Network}
data:
  source: {class_path: seglab.Shapes, init_args: {num_train: 12, num_val: 4, num_test: 4, image_size: 16, num_shapes: 3}}
  batch_size: 4
  num_workers: 0
trainer: {max_epochs: 4, accelerator: cpu, log_every_n_steps: 1, callbacks: [{class_path: mine.Signalled}]}
"""
"""Three steps an epoch."""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def user_folder(place: Path, config: str = CONFIG) -> Path:
    """Make a user's folder, with a configuration and the file of classes that it names."""
    place.mkdir(exist_ok=True)
    shutil.copy(Path(__file__).with_name("mine.py"), place)
    (place / "c.yaml").write_text(config)
    return place


def started(place: Path, *words: object, **environment: object) -> ForkServerProcess:
    """`seglab WORDS` in `place`, running. It prints into `out.txt` and `err.txt` there."""
    process = FORKS.Process(target=_be_the_command, args=(place, [str(word) for word in words], environment))
    process.start()
    return process


def seglab(place: Path, *words: object, **environment: object) -> Ended:
    """`seglab WORDS` in `place`, to its end."""
    process = started(place, *words, **environment)
    process.join(timeout=240)
    assert process.exitcode is not None, "it hangs"
    return Ended(process.exitcode, (place / "out.txt").read_text(), (place / "err.txt").read_text())


def fit(place: Path, *words: object, **environment: object) -> Ended:
    """`seglab fit --config c.yaml WORDS` in `place`, to its end."""
    return seglab(place, "fit", "--config", "c.yaml", *words, **environment)


def _be_the_command(place: Path, words: list[str], environment: dict[str, object]) -> None:
    gc.freeze()
    multiprocessing.set_start_method("fork", force=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    os.chdir(place)
    for number, name in ((1, "out.txt"), (2, "err.txt")):
        with Path(name).open("w") as file:
            os.dup2(file.fileno(), number)
    os.environ |= {"WANDB_MODE": "disabled"} | {name: str(value) for name, value in environment.items()}
    sys.argv = ["seglab", *words]
    from seglab.cli import main

    main()


def version(place: Path, number: int) -> Path:
    return place / "runs" / "fit" / f"version_{number}"


def checkpoint(path: Path) -> dict[str, Any]:
    held: dict[str, Any] = torch.load(path, weights_only=True)
    return held


def rows(folder: Path, *, without: tuple[str, ...] = ("perf/",)) -> list[dict[str, str]]:
    """Return the rows of `metrics.csv` without columns that begin with `without`, and without rows left empty."""
    with (folder / "metrics.csv").open() as file:
        found = [{name: cell for name, cell in row.items() if cell and not name.startswith(without)} for row in csv.DictReader(file)]
    return [row for row in found if set(row) - {"epoch", "step"}]


OF_THE_LAST_STEP = ("perf/", "stage/network/drift", "stage/network/norm", "stage/network/update", "stage/network/zero", "stage/network/eff")
"""Columns that `WeightDiagnostics` also logs at the last step, which another step is in a longer training."""


def what_counts(folder: Path, name: str = "last.ckpt", without: tuple[str, ...] = ("perf/",)) -> dict[str, Any]:
    """The weights and the log of a fit, and the state of its optimizer and scheduler."""
    held = checkpoint(folder / "checkpoints" / name)
    return {
        "step": held["global_step"],
        "weights": {name: value.numpy().tobytes() for name, value in held["state_dict"].items()},
        "optimizer": str(held["optimizer_states"]),
        "scheduler": str(held["lr_schedulers"]),
        "best": [state for key, state in held["callbacks"].items() if "FitCheckpoints" in key],
        "rows": rows(folder, without=without),
    }


def files(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file() and path.suffix not in (".pyc", ".txt"))
