"""Measure the flags that change speed: a training step under each, in rounds, with the peak memory of a GPU."""

import dataclasses
import statistics
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from seglab import AdamW, CrossEntropy, SegmentationModule, unet
from seglab.interruption import Interruption
from seglab.running.job import Job
from seglab.running.network import lay_out, translate
from seglab.running.process import run_settings
from seglab.running.trainer import trainer_of
from seglab.sample import Batch
from seglab.study.study import Study
from tests.benchmarks.device import DEVICE
from tests.benchmarks.step import CLASSES, Block, Size, batch, job_of, now, own, since

GPU = DEVICE.type == "cuda"
SIZE = (
    Size("U-Net ResNet-50, 8 × 512²", lambda: unet("resnet50", CLASSES), 8, 512, 40)
    if GPU
    else Size("U-Net ResNet-18, 2 × 64²", lambda: unet("resnet18", CLASSES), 2, 64, 6)
)
WARM = 5
"""Steps that do not count: the first ones translate and allocate."""
ROUNDS = 3

FLAGS: dict[str, tuple[dict[str, object], bool]] = {
    "float32": ({}, False),
    "--channels_last true": ({"channels_last": True}, False),
    "AdamW(fused=True)": ({}, True),
    "--precision bf16-mixed": ({"precision": "bf16-mixed"}, False),
    "bf16-mixed, channels_last": ({"precision": "bf16-mixed", "channels_last": True}, False),
    "--compile true": ({"compile": True}, False),
    "bf16-mixed, channels_last, compile, fused": ({"precision": "bf16-mixed", "channels_last": True, "compile": True}, True),
}
"""Fields of the study, and whether the optimizer is fused."""


class Timed:
    """A loader of batches that times the steps between the first ones and the last."""

    def __init__(self, batches: Sequence[Batch], steps: int) -> None:
        self.batches = batches
        self.steps = steps
        self.block = Block(0.0, 0.0)

    def __len__(self) -> int:
        return WARM + self.steps + 1

    def __iter__(self) -> Iterator[Batch]:
        began = now()
        for step in range(len(self)):
            if step == WARM:
                began = now()
            if step == WARM + self.steps:
                self.block = since(began)
            yield self.batches[step % len(self.batches)]


def bench_flags(console: Console) -> None:
    """Print a table of the rounds so far, after each of them. A ratio is to float32 of the same round."""
    times: dict[str, list[float]] = {name: [] for name in FLAGS}
    memory: dict[str, float] = {}
    for done in range(1, ROUNDS + 1):
        for name, (fields, fused) in FLAGS.items():
            if GPU:
                torch.cuda.reset_peak_memory_stats()
            times[name].append(measured(SIZE, fields, fused))
            memory[name] = torch.cuda.max_memory_allocated() / 2**20 if GPU else float("nan")
        table = Table(title=f"a training step under flags, {SIZE.name}, {DEVICE.type}, {done} rounds in turn", title_justify="left")
        for heading in ("", "ms", "ratio to float32", "peak MiB"):
            table.add_column(heading, justify="right" if heading else "left")
        for name, values in times.items():
            ratio = statistics.median(one / base for one, base in zip(values, times["float32"], strict=True))
            table.add_row(name, f"{1e3 * statistics.median(values):.1f}", f"{ratio:.2f}", f"{memory[name]:.0f}")
        console.print(table)


def measured(size: Size, fields: dict[str, object], fused: bool) -> float:
    """Return the seconds of a training step under some settings of a study."""
    with tempfile.TemporaryDirectory() as root, run_settings(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        job = _with(job_of(size, Path(root)), fields)
        torch.manual_seed(0)
        module = SegmentationModule(size.build(), CrossEntropy(), num_classes=CLASSES, optimizer=AdamW(fused=fused or None))
        module.logs_rows_only = True
        lay_out(module.network, job.study)
        translate(module.network, job.study)
        loader = Timed([batch(seed, size.images, size.side) for seed in range(4)], size.steps)
        trainer_of(job, "", own(job), Interruption()).fit(module, train_dataloaders=loader)
    return loader.block.wall / size.steps


def _with(job: Job, fields: dict[str, object]) -> Job:
    study: Study = dataclasses.replace(job.study, **fields)  # type: ignore[arg-type]
    return dataclasses.replace(job, study=study)
