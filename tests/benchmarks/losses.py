"""Measure a loss's cost: forward and backward pass relative to cross-entropy, and beside it the whole training step."""

import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from seglab.losses import (
    OHEM,
    BoundaryLoss,
    Brier,
    CrossEntropy,
    Dice,
    Focal,
    FocalTversky,
    GeneralizedDice,
    GradientLoss,
    HausdorffDT,
    Jaccard,
    LogCoshDice,
    Lovasz,
    SmoothL1Loss,
    Tversky,
    WeightedSum,
)

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
IMAGES, CLASSES, SIDE, ROUNDS = (8, 19, 512, 20) if DEVICE.type == "cuda" else (4, 11, 256, 7)
TORCH = "torch.nn.functional.cross_entropy"
LOSSES: dict[str, nn.Module] = {
    "cross-entropy": CrossEntropy(),
    "cross-entropy, weighted": CrossEntropy(weight=[1.0 + c for c in range(CLASSES)]),
    "focal": Focal(),
    "OHEM": OHEM(),
    "Brier": Brier(),
    "Smooth-L1": SmoothL1Loss(),
    "Dice": Dice(),
    "generalized Dice": GeneralizedDice(),
    "log-cosh Dice": LogCoshDice(),
    "Jaccard": Jaccard(),
    "Tversky": Tversky(),
    "focal Tversky": FocalTversky(),
    "Lovász-softmax": Lovasz(),
    "gradient": GradientLoss(),
    "boundary": BoundaryLoss(),
    "Hausdorff-DT": HausdorffDT(),
    "cross-entropy + Dice": WeightedSum({"ce": CrossEntropy(), "dice": Dice()}, {"ce": 1.0, "dice": 1.0}),
}


def bench_losses(console: Console) -> None:
    """All in turn, so that drift meets all alike."""
    logits, mask = blobs()
    steps: dict[str, Callable[[Tensor, Tensor], Tensor]] = {TORCH: lambda z, y: F.cross_entropy(z, y, ignore_index=255)}
    steps |= {name: loss.to(DEVICE) for name, loss in LOSSES.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS + 1):
        for name, step in steps.items():
            times[name].append(seconds(step, logits, mask))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    table = Table(title=f"forward and backward, {IMAGES} × {CLASSES} × {SIDE}², {DEVICE.type}", title_justify="left")
    for heading in ("", "median ms", "ratio to cross-entropy"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, value in medians.items():
        table.add_row(name, f"{1e3 * value:.1f}", f"{value / medians['cross-entropy']:.2f}")
    console.print(table)


def blobs() -> tuple[Tensor, Tensor]:
    """Logits (N,C,H,W), and masks (N,H,W) int64 of connected regions with a tenth ignored, as real ones have."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(IMAGES, CLASSES, SIDE // 16, SIDE // 16, generator=generator)
    mask = F.interpolate(coarse, (SIDE, SIDE), mode="bilinear").argmax(1)
    mask[:, : SIDE // 10] = 255
    return torch.randn(IMAGES, CLASSES, SIDE, SIDE, generator=generator).to(DEVICE), mask.to(DEVICE)


def seconds(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, mask: Tensor) -> float:
    given = logits.clone().requires_grad_()
    synchronize()
    began = time.perf_counter()
    loss(given, mask).backward()
    synchronize()
    return time.perf_counter() - began


def synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
