"""Measure what W&B costs a training: `python -m tests.benchmarks wandb`."""

import statistics
import tempfile
from pathlib import Path

from rich.console import Console

from seglab.records import read_result
from tests.benchmarks.study import of_command, script, show

ROUNDS, EPOCHS = 3, 8

MODES = {
    "disabled": ("--seed", "1", "--wandb", "disabled"),
    "offline": ("--seed", "1", "--wandb", "offline"),
    "offline, with pictures of each validation": ("--seed", "0", "--wandb", "offline"),
}
"""The first seed of a study logs pictures of its validations."""


def bench_wandb(console: Console) -> None:
    """Time an epoch with its validation, and a whole `run` of one training, in each mode in turn."""
    epochs: dict[str, list[float]] = {mode: [] for mode in MODES}
    runs: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(ROUNDS):
        for mode, words in MODES.items():
            with tempfile.TemporaryDirectory() as root:
                given = ["--root", root, "--accelerator", "cpu", "--rates", "1", "--seeds", "2", "--epochs", str(EPOCHS), "--arm", "lr-0"]
                runs[mode].append(of_command(script("run", *given, *words)).wall)
                (path,) = Path(root).glob("rates/*/seed-*/result.json")
                epochs[mode].append(read_result(path).cost["training_seconds"] / EPOCHS)
    base = statistics.median(epochs["disabled"]), statistics.median(runs["disabled"])
    rows = {}
    for mode in MODES:
        epoch, run = statistics.median(epochs[mode]), statistics.median(runs[mode])
        rows[mode] = (epoch, epoch / base[0], run, run - base[1])
    show(console, "W&B, a short training on the CPU", ("epoch s", "ratio", "whole `run` s", "more s"), rows, ".2f")
