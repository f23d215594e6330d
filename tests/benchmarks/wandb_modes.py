"""Measure what W&B costs a training: `python -m tests.benchmarks wandb`."""

import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from seglab.records import read_result
from tests.benchmarks.study import of_command, script, show

ROUNDS, SHORT, LONG = 3, 2, 12
"""Number of rounds, and the epochs of two otherwise equal trainings. Both include the start of W&B, so their difference
is the time of epochs alone.
"""

MODES = {
    "disabled": ("--seed", "1", "--wandb", "disabled"),
    "offline": ("--seed", "1", "--wandb", "offline"),
    "offline, with pictures of each validation": ("--seed", "0", "--wandb", "offline"),
}
"""The first seed of a study logs pictures of its validations."""


class Training(NamedTuple):
    """Seconds of one training and of the `run` around it."""

    training: float
    """With validation, and with the start of W&B."""
    run: float
    cpu: float
    """CPU seconds of `run` and all its processes, W&B's own among them."""


def bench_wandb(console: Console) -> None:
    """Time an epoch with its validation apart from the start, each mode in turn, and each ratio within a round."""
    epochs: dict[str, list[float]] = {mode: [] for mode in MODES}
    processor: dict[str, list[float]] = {mode: [] for mode in MODES}
    runs: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(ROUNDS):
        for mode, words in MODES.items():
            short, long = trained(SHORT, words), trained(LONG, words)
            epochs[mode].append((long.training - short.training) / (LONG - SHORT))
            processor[mode].append((long.cpu - short.cpu) / (LONG - SHORT))
            runs[mode].append(short.run)
    rows = {
        mode: (
            statistics.median(epochs[mode]),
            ratio(epochs[mode], epochs["disabled"]),
            statistics.median(processor[mode]),
            ratio(processor[mode], processor["disabled"]),
            statistics.median(runs[mode]) - statistics.median(runs["disabled"]),
        )
        for mode in MODES
    }
    headings = ("epoch s", "ratio", "CPU s an epoch", "ratio", f"more s, whole `run` of {SHORT} epochs")
    show(console, f"W&B, a short training on the CPU, {ROUNDS} rounds", headings, rows, ".3f")


def trained(epochs: int, words: tuple[str, ...]) -> Training:
    """Run one training of a study in a folder of its own."""
    with tempfile.TemporaryDirectory() as root:
        given = ["--root", root, "--accelerator", "cpu", "--rates", "1", "--seeds", "2", "--epochs", str(epochs), "--arm", "lr-0"]
        seconds = of_command(script("run", *given, *words))
        (path,) = Path(root).glob("rates/*/seed-*/result.json")
        return Training(read_result(path).cost["training_seconds"], seconds.wall, seconds.cpu)


def ratio(one: list[float], other: list[float]) -> float:
    """Return the median of the ratios of the rounds."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))
