"""Measure the time and the memory that `compare` takes on a study of many runs.

python -m tests.benchmarks.reading FOLDER FORM prints the seconds and the peak memory of one command, in a process of
its own.
"""

import csv
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from seglab.records import Result, Run, StudyRecord, identity, write_record

ARMS, SEEDS, CLASSES, EPOCHS = 200, 50, 19, 30
STAGES = ("encoder.0", "encoder.1", "encoder.2", "encoder.3", "encoder.4", "decoder", "head")
QUANTITIES = ("lr", "norm", "effective_lr", "ratio", "drift", "zeros")
SCORES = ("iou", "dice", "precision", "recall")


def bench_reading(console: Console) -> None:
    """Measure `seglab compare` of 10,000 runs, with and without the report."""
    table = Table(title=f"`seglab compare` of {ARMS * SEEDS} runs ({ARMS} arms × {SEEDS} seeds, {EPOCHS} epochs)", title_justify="left")
    for heading in ("", "s", "peak MiB"):
        table.add_column(heading, justify="right" if heading else "left")
    with tempfile.TemporaryDirectory() as root:
        folder = write_study(Path(root) / "many", ARMS, SEEDS)
        for name, form in (("--format json", "json"), ("the table and report.html", "table")):
            words = [sys.executable, "-m", "tests.benchmarks.reading", str(folder), form]
            seconds, mebibytes = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            table.add_row(name, f"{seconds:.1f}", f"{mebibytes:.0f}")
    console.print(table)


def write_study(folder: Path, arms: int, seeds: int, epochs: int = EPOCHS) -> Path:
    """Write a study as `run` leaves it: `result.json` and `metrics.csv` of each run.

    `epochs` 0 leaves out `metrics.csv`.
    """
    names = [f"arm-{place:03d}" for place in range(arms)]
    record = StudyRecord(folder.name, names[0], "test/miou", {"epochs": epochs}, {name: {"strength": name} for name in names})
    generator = np.random.default_rng(0)
    of_seed = generator.normal(0, 0.01, seeds)
    log = _log(epochs, generator)
    for place, name in enumerate(names):
        for seed in range(seeds):
            run = Run(folder.name, name, seed)
            directory = run.directory(folder)
            directory.mkdir(parents=True)
            score = float(0.6 + 0.01 * place / arms + of_seed[seed] + generator.normal(0, 0.005))
            (directory / "result.json").write_bytes(msgspec.json.encode(_result(run, identity(record, run), score, generator)))
            if log:
                (directory / "metrics.csv").write_text(log)
    write_record(folder, record)
    return folder


def _result(run: Run, settings: str, score: float, generator: np.random.Generator) -> Result:
    names = tuple(f"class-{label}" for label in range(CLASSES))
    means = {name: score + 0.01 * place for place, name in enumerate(("miou", "dice", "pixel_accuracy", "rare_miou", "fwiou"))}
    values = {name: tuple(np.clip(generator.normal(score, 0.1, CLASSES), 0, 1).tolist()) for name in SCORES}
    per_class = {split: {**values, "frequency": (1 / CLASSES,) * CLASSES} for split in ("val", "test")}
    cost = {"seconds": 100.0 + generator.normal(), "training_seconds": 90.0, "peak_memory_mib": 4000.0, "exact_zeros": 0.0}
    return Result(run, settings, names, {**means, "loss": 1 - score}, means, per_class, cost, "abc", "0.3.0", train=means)


def _log(epochs: int, generator: np.random.Generator) -> str:
    """Return a `metrics.csv` with a row of losses and a row of weights for each epoch, and a row for its validation."""
    if not epochs:
        return ""
    of_stages = [f"stage/{stage}/{quantity}" for stage in STAGES for quantity in QUANTITIES]
    file = io.StringIO()
    writer = csv.DictWriter(
        file, ["epoch", "step", "train/loss", "val/miou", "val/loss", "perf/data_wait", "perf/images_per_s", *of_stages]
    )
    writer.writeheader()
    for epoch in range(epochs):
        step = 100 * epoch
        writer.writerow(
            {"step": step, **{name: repr(value) for name, value in zip(of_stages, generator.random(len(of_stages)).tolist(), strict=True)}}
        )
        writer.writerows({"epoch": epoch, "step": step + part, "train/loss": repr(1 / (1 + step + part))} for part in (24, 49, 74, 99))
        writer.writerow(
            {"epoch": epoch, "step": step + 99, "val/miou": 0.6 - 1 / (epoch + 3), "val/loss": 1 / (epoch + 2), "perf/data_wait": 0.01}
        )
    return file.getvalue()


def measure(folder: Path, form: str) -> tuple[float, float]:
    """Return the seconds that `seglab compare` takes, imports left out, and the peak memory of this process in MiB."""
    from seglab import cli

    began = time.perf_counter()
    cli.read(["compare", str(folder), "--format", form, "--output", str(folder / f"out.{form}")])
    return time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2])))
