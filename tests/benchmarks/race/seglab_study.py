"""A run of a seglab study, as `run` trains it: its data module, callbacks and CSV log; W&B is disabled.

A study measures the weights 20 times in a training. The race is so short that it measures them once. It takes the
second seed, because only the first one draws pictures of each validation. After the training it tests and writes its
result, which is not part of the race.
"""

import csv
from typing import Literal

from torch import nn

from seglab import AdamW, CrossEntropy, SegmentationDataModule, SegmentationModule, Shapes, Study
from seglab.interruption import listening
from seglab.running.plan import Plan, Script, Selection, agreed_record, save_record
from seglab.running.resources import Resources
from seglab.running.worker import work
from tests.benchmarks.race.shared import DEVICE, RATE, Folder, Size

SEED = 1


def data_of(size: Size) -> SegmentationDataModule:
    """Return the samples of the race, without augmentation, in memory."""
    shapes = Shapes(num_train=size.steps * size.batch, num_val=4 * size.batch, num_test=1, image_size=size.side)
    return SegmentationDataModule(shapes, batch_size=size.batch, augmentation=None, num_workers=0)


def study_of(folder: Folder) -> Study:
    """Return a study of one arm."""
    size = folder.size

    def module() -> SegmentationModule:
        network: nn.Module = folder.network()
        return SegmentationModule(network, CrossEntropy(), num_classes=size.classes, optimizer=AdamW(RATE))

    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed" if DEVICE.type == "cuda" else "32-true"
    return Study(
        "race", data=data_of(size), epochs=size.epochs, seeds=range(SEED + 1), baseline="one", arms={"one": module}, precision=precision
    )


def train(folder: Folder) -> list[float]:
    """Train, validate after each epoch, and return the mean IoU of each validation."""
    resources = Resources(accelerator="gpu" if DEVICE.type == "cuda" else "cpu", wandb="disabled", diagnostics=1)
    plan = Plan(study_of(folder), folder.path, Script(("race.py",)), resources, Selection(seed=SEED))
    save_record(plan, agreed_record(plan))
    (job,) = plan.jobs()
    with listening() as interruption:
        if work([job], interruption) > 0:
            raise RuntimeError((job.directory / "failure.json").read_text())
    with (job.directory / "metrics.csv").open() as file:
        return [float(row["val/miou"]) for row in csv.DictReader(file) if row["val/miou"]]
