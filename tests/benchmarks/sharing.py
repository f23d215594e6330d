"""Runs that share a device: throughput of a study by `--runs_per_device`, and whether its scores stay the same."""

import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console

from seglab.records import read_result
from tests.benchmarks.study import of_command, script, show

RUNS = 8


def bench_sharing(console: Console) -> None:
    """Time one study of short runs repeatedly, each time with more runs at once on each GPU.

    Without a GPU, the runs share the CPU with one thread each.
    """
    gpus = torch.cuda.device_count()
    seconds: dict[int, float] = {}
    scores: dict[int, dict[str, dict[str, float]]] = {}
    for sharing in (1, 2, 4, 8) if gpus else (1, 2):
        with tempfile.TemporaryDirectory() as root:
            given = ["--rates", "1", "--seeds", str(RUNS * max(1, gpus)), "--wandb", "disabled", "--runs_per_device", str(sharing)]
            began = time.time()
            of_command(script("run", "--root", root, "--accelerator", "gpu" if gpus else "cpu", *given))
            seconds[sharing] = last_result(root) - began
            scores[sharing] = {path.parent.name: dict(read_result(path).test) for path in results(root)}
    same = all(found == scores[1] for found in scores.values())
    rows = {f"{sharing} at a time": (wall, 3600 * len(scores[1]) / wall, seconds[1] / wall) for sharing, wall in seconds.items()}
    device = torch.cuda.get_device_name() if gpus else "CPU, one thread a run"
    title = f"{len(scores[1])} short runs, {max(1, gpus)} × {device}; test scores {'are the same' if same else 'DIFFER'}"
    show(console, title, ("s to the last result", "runs an hour", "ratio to 1"), rows, ".2f")


def results(root: str) -> list[Path]:
    return sorted(Path(root).glob("rates/*/seed-*/result.json"))


def last_result(root: str) -> float:
    return max(path.stat().st_mtime for path in results(root))
