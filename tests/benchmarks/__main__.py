"""Measure what the framework costs: `make bench`.

Everything is measured side by side in one run, and the ratios are what counts.

python -m tests.benchmarks              # all
python -m tests.benchmarks step metric  # some, as `make bench ONLY="step metric"`
python -m tests.benchmarks gpu --minutes 10  # what is worth most on a GPU that is there for a few minutes
"""

import argparse
import logging
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from seglab import (
    L1,
    L2,
    Anchored,
    CrossEntropy,
    Decoupled,
    ElasticNet,
    GroupLasso,
    HoyerSquare,
    Orthogonality,
    Proximal,
    Regularizer,
    SegmentationModule,
    SmoothL1,
    Spectral,
    unet,
)
from seglab.regularizers import OptimizerStepSizes
from seglab.sample import Batch
from seglab.stage import Progress
from tests.benchmarks.data import bench_data
from tests.benchmarks.device import DEVICE, synchronize
from tests.benchmarks.flags import bench_flags
from tests.benchmarks.freezing import bench_freezing
from tests.benchmarks.gpu import gpu
from tests.benchmarks.losses import bench_losses
from tests.benchmarks.metrics import bench_metric
from tests.benchmarks.race.course import bench_race
from tests.benchmarks.reading import bench_reading
from tests.benchmarks.sharing import bench_sharing
from tests.benchmarks.step import CLASSES, batch, bench_step
from tests.benchmarks.study import bench_ledger, bench_planning, bench_ranks, bench_study
from tests.benchmarks.wandb_modes import bench_wandb


def main() -> None:
    benches: dict[str, Callable[[Console], None]] = {
        "step": bench_step,
        "flags": bench_flags,
        "penalty": bench_penalty,
        "freezing": bench_freezing,
        "losses": bench_losses,
        "metric": bench_metric,
        "data": bench_data,
        "start": bench_start,
        "ledger": bench_ledger,
        "study": bench_study,
        "sharing": bench_sharing,
        "planning": bench_planning,
        "ranks": bench_ranks,
        "reading": bench_reading,
        "wandb": bench_wandb,
        "race": bench_race,
    }
    if sys.argv[1:2] == ["gpu"]:
        gpu(sys.argv[2:], list(benches))
        return
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("bench", nargs="*", choices=[*benches, []], help="which; all by default")
    console = Console(width=None if sys.stdout.isatty() else 150)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for name in parser.parse_args().bench or benches:
        benches[name](console)


def bench_penalty(console: Console) -> None:
    """Time a training step with each penalty in turn, and with L2 as a plain Python loop in the loss.

    All candidates share one network.
    """
    choices: dict[str, Regularizer | None] = {
        "none": None,
        "L2": L2(1e-4),
        "L1": L1(1e-6),
        "elastic net": ElasticNet(1e-6, 1e-4),
        "Smooth-L1": SmoothL1(1e-6, kappa=0.5),
        "decoupled L2": Decoupled(L2(1e-2)),
        "anchored L2": Anchored(L2(1e-4)),
        "proximal L1": Proximal(L1(1e-6)),
        "proximal L1, uniform": Proximal(L1(1e-6), preconditioned=False),
        "proximal Smooth-L1": Proximal(SmoothL1(1e-6, kappa=0.5)),
        "Hoyer-square": HoyerSquare(1e-7),
        "group lasso": GroupLasso(1e-6),
        "proximal group lasso": Proximal(GroupLasso(1e-6)),
        "proximal group lasso, uniform": Proximal(GroupLasso(1e-6), preconditioned=False),
        "spectral": Spectral(1e-4),
        "orthogonality": Orthogonality(1e-5),
    }
    encoder, side, images, rounds = ("resnet50", 512, 8, 20) if DEVICE.type == "cuda" else ("resnet34", 256, 4, 5)
    this = module(None, encoder).to(DEVICE)
    this.network.pretrained = frozenset(name for name, _ in this.network.named_parameters())  # type: ignore[assignment]
    optimizer = torch.optim.AdamW(this.network.parameters(), lr=1e-4, weight_decay=0.0)
    one = batch(0, images, side)
    this_step = {name: penalised_step(this, optimizer, one, regularizer) for name, regularizer in choices.items()}
    this_step["L2 in the loss"] = loss_route_step(this, optimizer, one)
    this_step["none"]()  # the optimizer makes its state, which a prox reads
    whole: dict[str, list[float]] = {name: [] for name in this_step}
    alone: dict[str, list[float]] = {name: [] for name in this_step}
    for _ in range(rounds):
        for name, step in this_step.items():
            synchronize()
            began = time.perf_counter()
            penalty = step()
            synchronize()
            whole[name].append(time.perf_counter() - began)
            alone[name].append(penalty)
    show_penalties(console, f"a training step with a penalty, U-Net {encoder}, {images} × {side}², AdamW, {DEVICE.type}", whole, alone)


def bench_start(console: Console) -> None:
    """Measure how long a command takes to print its first line."""
    commands = {
        "python -c pass": ["-c", "pass"],
        "import seglab": ["-c", "import seglab"],
        "seglab --help": ["-c", "import sys; sys.argv = ['seglab', '--help']; from seglab.cli import main; main()"],
        "import lightning": ["-c", "import lightning"],
        "experiments/regularization.py --help": ["experiments/regularization.py", "--help"],
    }
    times = {name: [process_seconds(words) for _ in range(3)] for name, words in commands.items()}
    show(console, "starting", times, "import lightning")


def penalised_step(
    this: SegmentationModule, optimizer: torch.optim.Optimizer, one: Batch, regularizer: Regularizer | None
) -> Callable[[], float]:
    """One step; gives the seconds that the penalty took of it (on a GPU: to be launched)."""
    applied = None if regularizer is None else regularizer.bind(this.weights())

    def step() -> float:
        optimizer.zero_grad()
        backward(this, one)
        began = time.perf_counter()
        if applied is not None:
            applied.before_update(Progress(0, 1, 1))
            applied.decouple(OptimizerStepSizes(optimizer))
        before = time.perf_counter() - began
        optimizer.step()
        began = time.perf_counter()
        if applied is not None:
            applied.after_update(OptimizerStepSizes(optimizer))
        return before + time.perf_counter() - began

    return step


def loss_route_step(this: SegmentationModule, optimizer: torch.optim.Optimizer, one: Batch) -> Callable[[], float]:
    def step() -> float:
        optimizer.zero_grad()
        with autocast():
            loss: Tensor = this.loss(this(one.image.to(DEVICE)), one.mask.to(DEVICE).long())
        for parameter in this.network.parameters():
            if parameter.ndim >= 2:
                loss = loss + 0.5e-4 * parameter.square().sum()
        loss.backward()
        optimizer.step()
        return float("nan")

    return step


def backward(this: SegmentationModule, one: Batch) -> None:
    with autocast():
        loss: Tensor = this.loss(this(one.image.to(DEVICE)), one.mask.to(DEVICE).long())
    loss.backward()


def autocast() -> torch.autocast:
    """bf16 on a GPU, float32 on a CPU."""
    return torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=DEVICE.type == "cuda")


def module(regularizer: Regularizer | None, encoder: str) -> SegmentationModule:
    torch.manual_seed(0)
    return SegmentationModule(unet(encoder, CLASSES), CrossEntropy(), num_classes=CLASSES, regularizer=regularizer)


def seconds(work: Callable[[], object]) -> float:
    synchronize()
    began = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - began


def process_seconds(words: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - began


def show(console: Console, title: str, times: dict[str, list[float]], reference: str) -> None:
    table = Table(title=title, title_justify="left")
    for heading in ("", "median ms", "fastest ms", f"ratio to {reference}"):
        table.add_column(heading, justify="left" if not heading else "right")
    base = statistics.median(times[reference])
    for name, values in times.items():
        middle = statistics.median(values)
        table.add_row(name, f"{1e3 * middle:.2f}", f"{1e3 * min(values):.2f}", f"{middle / base:.3f}")
    console.print(table)


def show_penalties(console: Console, title: str, whole: dict[str, list[float]], alone: dict[str, list[float]]) -> None:
    """Print the step times, their ratio to no penalty, and the penalty's cost within each step.

    The second ratio compares the penalty with the rest of the same step, so drift between steps does not affect it.
    """
    table = Table(title=title, title_justify="left")
    for heading in ("", "step, ms", "ratio to none", "penalty, ms", "1 + penalty/rest"):
        table.add_column(heading, justify="left" if not heading else "right")
    base = statistics.median(whole["none"])
    for name, values in whole.items():
        shares = [1 + part / (value - part) for part, value in zip(alone[name], values, strict=True)]
        row = [f"{1e3 * statistics.median(values):.1f}", f"{statistics.median(values) / base:.3f}"]
        inside = [f"{1e3 * statistics.median(alone[name]):.1f}", f"{statistics.median(shares):.3f}"]
        table.add_row(name, *row, *(["", ""] if statistics.median(alone[name]) != statistics.median(alone[name]) else inside))
    console.print(table)


if __name__ == "__main__":
    main()
