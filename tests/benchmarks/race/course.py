"""The race: the same training by a loop by hand, by seglab and by other frameworks, in separate processes.

The sides take turns over several rounds.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from tests.benchmarks.race.seglab_study import SEED, data_of
from tests.benchmarks.race.shared import DEVICE, WATCHED, Size, TimedUnet

SIDES: Mapping[str, tuple[str, str]] = {
    "by hand": ("by_hand", "torch"),
    "seglab": ("seglab_study", "seglab"),
    "Lightning": ("lightning_module", "lightning"),
    "TorchGeo": ("torchgeo_task", "torchgeo"),
    "Hugging Face": ("hugging_face", "transformers"),
    "fastai": ("fast_ai", "fastai"),
}
"""Module of each side, and the library that it needs."""

SIZES: Sequence[tuple[Size, int]] = (
    [(Size("resnet50", 512, 8, 30, 4), 5)]
    if DEVICE.type == "cuda"
    else [(Size("tu-mobilenetv3_small_050", 64, 4, 16, 4), 3), (Size("resnet18", 128, 4, 8, 3), 3)]
)
"""Sizes of the training, each with its number of rounds."""

CLOSE = 1e-4 if DEVICE.type == "cpu" else 3e-2
"""Relative difference up to which two sides' losses count as the same: rounding of float32, or of bf16."""


class Times(NamedTuple):
    """Seconds of one training, by one clock."""

    imports: float
    """Seconds from the start of Python's work to the end of the imports."""
    first: float
    """Seconds from the start of the process to the end of the first step."""
    steps: list[float]
    """Seconds of a step: the mean of each epoch, except the first epoch."""
    epochs: list[float]
    """Seconds of each epoch with its validation, except the first and the last epoch."""


class Found(NamedTuple):
    """Costs of one training."""

    wall: Times
    cpu: Times
    """CPU times, which do not count what else runs on the machine."""
    memory: float
    """Peak memory, MiB."""
    losses: list[float]
    """Losses of the first steps."""
    scores: list[float]
    """Mean IoU of each validation."""


def bench_race(console: Console) -> None:
    """Race all sides whose library is installed; `make bench-peers` installs all."""
    sides = [name for name, (_, library) in SIDES.items() if importlib.util.find_spec(library) is not None]
    for name in SIDES:
        if name not in sides:
            console.print(f"{name}: not installed; `make bench-peers` installs it")
    for size, rounds in SIZES:
        found: dict[str, list[Found]] = {name: [] for name in sides}
        for number in range(rounds):
            began = time.perf_counter()
            race(size, found, number)
            console.print(f"round {number + 1} of {rounds}: {time.perf_counter() - began:.0f} s", highlight=False)
        check_same_training(found)
        title = f"the race: {size.title}, {rounds} rounds"
        show(console, title, {name: [one.wall for one in of] for name, of in found.items()})
        if DEVICE.type == "cpu":
            show(console, f"{title}, CPU time", {name: [one.cpu for one in of] for name, of in found.items()})
        show_memory(console, found)


def race(size: Size, found: Mapping[str, list[Found]], number: int) -> None:
    """Train all sides in turn and add what each took. Each round begins with another side."""
    sides = list(found)
    with tempfile.TemporaryDirectory() as root:
        for place in range(len(sides)):
            name = sides[(number + place) % len(sides)]
            folder = Path(root, str(place))
            prepare(folder, size)
            found[name].append(trained(name, folder))


def prepare(folder: Path, size: Size) -> None:
    """Write the size, the initial weights, and the samples in the order of seglab's first epoch."""
    folder.mkdir()
    torch.manual_seed(0)
    torch.save(TimedUnet(size.encoder, encoder_weights=None, classes=size.classes).state_dict(), folder / "weights.pt")
    data = data_of(size).with_seed(SEED)
    loaders = {"train": list(data.train_dataloader()), "val": list(data.val_dataloader())}
    samples = {f"{split} images": torch.cat([batch.image for batch in batches]) for split, batches in loaders.items()}
    masks = {f"{split} masks": torch.cat([batch.mask for batch in batches]) for split, batches in loaders.items()}
    torch.save({**samples, **masks}, folder / "samples.pt")
    torch.save(torch.stack([batch.mask for batch in loaders["train"][:WATCHED]]), folder / "masks.pt")
    (folder / "size.json").write_text(json.dumps(size))


def trained(name: str, folder: Path) -> Found:
    """Train one side in a process of its own, with one thread.

    Raises:
        RuntimeError: the process failed; the message holds the end of its output.
    """
    words = [sys.executable, "-m", "tests.benchmarks.race.trained", SIDES[name][0], str(folder), str(time.time())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name}: the training ended with exit code {done.returncode}: {done.stderr[-2000:]}")
    printed = json.loads(done.stdout.splitlines()[-1])
    wall, cpu = (times(printed, clock) for clock in (0, 1))
    return Found(wall, cpu, printed["memory"], printed["losses"], printed["scores"])


def times(printed: Mapping[str, Any], clock: int) -> Times:
    """Return the times of a training that a process has printed, by the wall clock (0) or by CPU time (1)."""
    epochs = [[moment[clock] for moment in epoch] for epoch in printed["epochs"]]
    return Times(
        imports=printed["import"][clock],
        first=printed["first"][clock],
        steps=[(epoch[-1] - epoch[0]) / (len(epoch) - 1) for epoch in epochs[1:]],
        epochs=[later[0] - earlier[0] for earlier, later in pairwise(epochs[1:])],
    )


def check_same_training(found: Mapping[str, Sequence[Found]]) -> None:
    """Check that all sides train the same network on the same batches.

    Raises:
        RuntimeError: the losses of the first steps, or the first mean IoU, differ from those of the loop by hand.
    """
    reference = found["by hand"][0]
    for name, of in found.items():
        for one in of:
            if not is_same(one, reference):
                raise RuntimeError(
                    f"{name} does not train as the loop by hand: losses {one.losses} and {reference.losses}, first mean IoU "
                    f"{one.scores[:1]} and {reference.scores[:1]}"
                )


def is_same(one: Found, other: Found) -> bool:
    """Return whether two trainings have the same losses in the first steps, and the same first mean IoU."""
    if not len(one.losses) == len(other.losses) == WATCHED:
        return False
    pairs = zip([*one.losses, one.scores[0]], [*other.losses, other.scores[0]], strict=True)
    return all(abs(own - reference) <= CLOSE * abs(reference) for own, reference in pairs)


def show(console: Console, title: str, found: Mapping[str, Sequence[Times]]) -> None:
    """Print the median of each column with its lowest and highest value.

    A ratio to the loop by hand is the median of the ratios epoch by epoch, as the sides take turns.
    """
    table = Table(title=title, title_justify="left")
    for heading in ("", "step, ms", "ratio", "epoch, s", "ratio", "first step, s", "import, s"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, of in found.items():
        row = [name]
        for kind, unit, form in (("steps", 1e3, ".1f"), ("epochs", 1.0, ".3f")):
            values, reference = ([value for one in times for value in getattr(one, kind)] for times in (of, found["by hand"]))
            ratios = [value / by_hand for value, by_hand in zip(values, reference, strict=True)]
            row += [spread([unit * value for value in values], form), f"{statistics.median(ratios):.2f}"]
        table.add_row(*row, spread([one.first for one in of], ".1f"), spread([one.imports for one in of], ".1f"))
    console.print(table)


def show_memory(console: Console, found: Mapping[str, Sequence[Found]]) -> None:
    """Print the peak memory of each side: the median with the lowest and the highest value."""
    console.print("peak memory, MiB: " + "; ".join(f"{name} {spread([one.memory for one in of], '.0f')}" for name, of in found.items()))


def spread(values: Sequence[float], form: str) -> str:
    """Return the median with the lowest and the highest value."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"
