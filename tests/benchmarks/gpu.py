"""Run the most valuable measurements first on a briefly available GPU: `python -m tests.benchmarks gpu --minutes 10`.

Each part is a process of its own, whose table is in FOLDER/PART.txt as soon as it is there, and which ends when its
time is over. The study is last and has the rest of the time: as many seeds as fit, and fewer epochs if four would not
fit. Without a GPU everything is small, which shows that it works and measures nothing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.device import DEVICE

PARTS = {"step": 0.12, "flags": 0.09, "penalty": 0.05, "sharing": 0.06, "metric": 0.03, "race": 0.07}
"""Benchmarks in order of value, with the largest fraction of the time that each may take; the rest is the study's."""

SEEDS, EPOCHS = 4, 20
"""Fewest seeds of the study, and its epochs where four seeds fit."""

STUDY = Path(__file__).with_name("published_size.py")
ARMS = 3


class Asked(NamedTuple):
    """Request of the command line."""

    minutes: float
    folder: Path
    camvid: Path | None
    weights: Path | None
    parts: Sequence[str]


def gpu(words: Sequence[str], known: Sequence[str]) -> None:
    """Run all parts within the time, then the study.

    Args:
        words: the command line.
        known: names of the benchmarks that there are.
    """
    asked = _asked(words)
    asked.folder.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * asked.minutes
    for name, share in PARTS.items():
        if name not in known:
            print(f"{name}: there is no such benchmark here", flush=True)
        elif name in asked.parts:
            left = ends - time.monotonic()
            run([sys.executable, "-m", "tests.benchmarks", name], asked.folder / f"{name}.txt", min(60 * asked.minutes * share, left))
    if "study" in asked.parts:
        study(asked, ends)


def study(asked: Asked, ends: float) -> None:
    """Time a run of two epochs, then train as many seeds as fit, and compare what is there when the time is over."""
    words = [sys.executable, str(STUDY), "run", "--root", str(asked.folder / "runs"), *sizes(asked)]
    one = [*words, "--name", "trial", "--epochs", "2", "--seeds", "1", "--arm", "l2"]
    began = time.monotonic()
    if not run(one, asked.folder / "trial.txt", ends - began):
        return
    whole = time.monotonic() - began
    cost = json.loads((asked.folder / "runs" / "trial" / "l2" / "seed-0" / "result.json").read_text())["cost"]
    arms = ARMS if asked.weights is not None else ARMS - 1
    once = whole - cost["seconds"]  # imports, checks and the report
    left = max(0.0, 0.9 * (ends - time.monotonic()) - once)
    seeds, epochs = that_fit(left / arms, cost["seconds"] - cost["training_seconds"], cost["training_seconds"] / 2)
    print(f"study: {arms} arms × {seeds} seeds × {epochs} epochs in {left:.0f} s", flush=True)
    run([*words, "--epochs", str(epochs), "--seeds", str(seeds)], asked.folder / "study.txt", ends - time.monotonic())


def that_fit(seconds: float, beside: float, epoch: float) -> tuple[int, int]:
    """Return the number of seeds and epochs of an arm's runs.

    Args:
        seconds: time for the arm.
        beside: seconds of a run beside its training.
        epoch: seconds of an epoch.

    >>> that_fit(120, 2, 1), that_fit(40, 2, 1), that_fit(1, 2, 1)
    ((5, 20), (4, 8), (4, 1))
    """
    seeds = int(seconds / (beside + EPOCHS * epoch))
    return (seeds, EPOCHS) if seeds >= SEEDS else (SEEDS, max(1, int((seconds / SEEDS - beside) / epoch)))


def sizes(asked: Asked) -> list[str]:
    """Return the flags of data, weights and precision: CamVid's published size on a GPU, small images elsewhere.

    Without CamVid, a GPU gets drawn images of 384×384.
    """
    data = [] if asked.camvid is None else ["--data.source", "CamVid", "--data.source.root", str(asked.camvid)]
    weights = [] if asked.weights is None else ["--weights", str(asked.weights)]
    common = [*data, *weights, "--precision", "bf16-mixed", "--wandb", "disabled"]
    if DEVICE.type == "cuda":
        side = ["--data.source.image_size", "384"] if asked.camvid is None else ["--data.size", "360,480"]
        return [*common, *side]
    small = ["--data.source.image_size", "32", "--data.source.num_train", "8"] if asked.camvid is None else ["--data.size", "32,32"]
    return [*common, *small, "--accelerator", "cpu"]


def run(words: Sequence[str], path: Path, seconds: float) -> bool:
    """Run a command for at most `seconds`, write its output to `path`, print it, and return whether it succeeded."""
    began = time.monotonic()
    if seconds < 1:
        print(f"{path.stem}: no time is left", flush=True)
        return False
    with path.open("w") as file:
        process = subprocess.Popen(
            words, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
        try:
            code = process.wait(timeout=seconds)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as stopped:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if isinstance(stopped, KeyboardInterrupt):
                raise
            code = None
    print(path.read_text(), end="")
    how = "stopped, its time is over" if code is None else "done" if code == 0 else f"failed with exit code {code}"
    print(f"{path.stem}: {how}, {time.monotonic() - began:.0f} s ({path})", flush=True)
    return code == 0


def _asked(words: Sequence[str]) -> Asked:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="time for everything")
    parser.add_argument("--folder", type=Path, default=Path("runs/gpu"), help="where tables and runs are written")
    parser.add_argument("--camvid", type=Path, help="folder of CamVid; without it, the study trains on drawn images")
    parser.add_argument("--weights", type=Path, help="file of weights of a ResNet-18; without it, there is no L2-SP")
    parser.add_argument("--parts", nargs="*", default=[*PARTS, "study"], choices=[*PARTS, "study"], help="which; all by default")
    asked = Asked(**vars(parser.parse_args(words)))
    if asked.minutes <= 0:
        parser.error(f"--minutes {asked.minutes}: must be above 0")
    for flag, path in (("--camvid", asked.camvid), ("--weights", asked.weights)):
        if path is not None and not path.exists():
            parser.error(f"{flag} {path}: does not exist")
    return asked
