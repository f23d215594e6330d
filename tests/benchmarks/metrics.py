"""Measure what counting a batch costs: an update of each metric, against torchmetrics and one bare bincount."""

import statistics
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.benchmark import Timer
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.segmentation import MeanIoU

from seglab.metrics import BoundaryIoU, CalibrationError, ConfusionMatrix
from seglab.sample import IGNORE

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
IMAGES, SIDE, CLASSES, ROUNDS = 2, 512, 19, 5
BARE = "bare bincount"


def bench_metric(console: Console) -> None:
    """Time the updates of all metrics in turn, so that drift affects all of them equally.

    Each update is repeated, because a prediction that was just made is in the cache.
    """
    timers = {name: Timer("update()", globals={"update": update}) for name, update in updates().items()}
    times: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            times[name] += timer.blocked_autorange(min_run_time=0.2).times
    show(console, times)


def updates() -> dict[str, Callable[[], object]]:
    """Predictions are int64, as `max` gives them, and masks uint8, as data sets do.

    The bare bincount finds its cells computed.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (IMAGES, SIDE, SIDE)
    logits = torch.randn(IMAGES, CLASSES, SIDE, SIDE, generator=generator).to(DEVICE)
    prediction = logits.max(1).indices
    truth = torch.randint(0, CLASSES, shape, generator=generator).to(DEVICE)
    ignored = (torch.rand(shape, generator=generator) < 0.1).to(DEVICE)
    mask = truth.masked_fill(ignored, IGNORE)
    small, cells = mask.to(torch.uint8), (truth * CLASSES + prediction).flatten()

    whole, per_image = ConfusionMatrix(CLASSES).to(DEVICE), ConfusionMatrix(CLASSES, per_image=True).to(DEVICE)
    boundary, calibration = BoundaryIoU(CLASSES).to(DEVICE), CalibrationError().to(DEVICE)
    jaccard = MulticlassJaccardIndex(CLASSES, ignore_index=IGNORE).to(DEVICE)
    mean_iou = MeanIoU(CLASSES, input_format="index").to(DEVICE)
    return {
        BARE: lambda: torch.bincount(cells, minlength=CLASSES**2),
        "ConfusionMatrix": lambda: whole.update(prediction, small),
        "ConfusionMatrix, per image": lambda: per_image.update(prediction, small),
        "BoundaryIoU": lambda: boundary.update(prediction, small),
        "CalibrationError": lambda: calibration.update(logits, small, prediction),
        "torchmetrics MulticlassJaccardIndex": lambda: jaccard.update(prediction, mask),
        "torchmetrics MeanIoU, nothing ignored": lambda: mean_iou.update(prediction, truth),
    }


def show(console: Console, times: dict[str, list[float]]) -> None:
    """Ratios of the fastest times, too: what else runs on the machine only makes a time longer."""
    table = Table(title=f"a metric's update, {IMAGES} × {SIDE}², {CLASSES} classes, {DEVICE.type}", title_justify="left")
    for heading in ("", "median ms", "ratio", "fastest ms", "ratio"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, values in times.items():
        row = [name]
        for of in (statistics.median, min):
            row += [f"{1e3 * of(values):.2f}", f"{of(values) / of(times[BARE]):.2f}"]
        table.add_row(*row)
    console.print(table)
