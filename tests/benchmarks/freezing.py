"""Measure what freezing saves: step time and peak memory of each phase of a schedule, relative to full fine-tuning.

python -m tests.benchmarks.freezing PHASE prints the peak memory of one phase, in a process of its own.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from seglab import CrossEntropy, SegmentationModule, unet
from seglab.callbacks.trainable import TrainableStages
from seglab.sample import Batch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ENCODER, SIDE, BATCH, ROUNDS = ("resnet50", 512, 16, 20) if DEVICE.type == "cuda" else ("resnet18", 192, 8, 5)
CLASSES = 19
PHASES = {
    "full fine-tuning": ["encoder.0", "encoder.1", "encoder.2", "encoder.3", "encoder.4", "decoder", "head"],
    "without encoder.0": ["encoder.1", "encoder.2", "encoder.3", "encoder.4", "decoder", "head"],
    "without encoder.0-1": ["encoder.2", "encoder.3", "encoder.4", "decoder", "head"],
    "without encoder.0-2": ["encoder.3", "encoder.4", "decoder", "head"],
    "without encoder.0-3": ["encoder.4", "decoder", "head"],
    "frozen encoder": ["decoder", "head"],
    "head alone": ["head"],
    "encoder.0, decoder, head": ["encoder.0", "decoder", "head"],
}
SEEN_IN = {
    "full fine-tuning": "all but the two below, at some time",
    "without encoder.0": "gradual, FreezeOut",
    "without encoder.0-1": "gradual, FreezeOut",
    "without encoder.0-2": "gradual, FreezeOut",
    "without encoder.0-3": "gradual, FreezeOut, surgical: last",
    "frozen encoder": "frozen, LP-FT, gradual, FreezeOut",
    "head alone": "FreezeOut",
    "encoder.0, decoder, head": "surgical: first",
}
LIMIT = "limit: the encoder's forward pass alone"


def bench_freezing(console: Console) -> None:
    """Time a training step of each phase in turn, so that drift affects all phases equally.

    Each phase's peak memory is measured in a separate process.
    """
    steps = {name: training_step(names) for name, names in PHASES.items()} | {LIMIT: encoder_forward()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS + 1):
        for name, step in steps.items():
            synchronize()
            began = time.perf_counter()
            step()
            synchronize()
            times[name].append(time.perf_counter() - began)
    del steps
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    memory = {name: peak_of(name) for name in times}
    show(console, medians, memory)


def show(console: Console, medians: dict[str, float], memory: dict[str, float]) -> None:
    title = f"a training step by phase, U-Net {ENCODER}, {BATCH} × {SIDE}², AdamW, {DEVICE.type}"
    table = Table(title=title, title_justify="left")
    for heading in ("trains", "in", "step, ms", "ratio", "peak, MiB", "ratio"):
        table.add_column(heading, justify="left" if heading in ("trains", "in") else "right")
    base, base_memory = medians["full fine-tuning"], memory["full fine-tuning"]
    for name, median in medians.items():
        numbers = [f"{1e3 * median:.0f}", f"{median / base:.2f}", f"{memory[name]:.0f}", f"{memory[name] / base_memory:.2f}"]
        table.add_row(name, SEEN_IN.get(name, ""), *numbers)
    console.print(table)


def training_step(names: list[str]) -> Callable[[], None]:
    module, one = built()
    optimizer = torch.optim.AdamW(module.parameter_groups(), lr=1e-4)
    module.train()
    TrainableStages(module).set(frozenset(names), optimizer)

    def step() -> None:
        with autocast():
            loss: Tensor = module.loss(module(one.image), one.mask.long())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def encoder_forward() -> Callable[[], None]:
    module, one = built()
    encoder = module.network.get_submodule("encoder").eval()

    def step() -> None:
        with torch.no_grad(), autocast():
            encoder(module.normalise(one.image))

    return step


def built() -> tuple[SegmentationModule, Batch]:
    torch.manual_seed(0)
    module = SegmentationModule(unet(ENCODER, CLASSES), CrossEntropy(), num_classes=CLASSES).to(DEVICE)
    image = torch.randint(0, 256, (BATCH, 3, SIDE, SIDE), dtype=torch.uint8, device=DEVICE)
    mask = torch.randint(0, CLASSES, (BATCH, SIDE, SIDE), dtype=torch.uint8, device=DEVICE)
    sizes = torch.tensor([[SIDE, SIDE]] * BATCH)
    return module, Batch(image, mask, tuple(map(str, range(BATCH))), sizes, sizes)


def peak_of(name: str) -> float:
    """MiB, beyond what the process held before it built the network."""
    words = [sys.executable, "-m", "tests.benchmarks.freezing", name]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def print_peak(name: str) -> None:
    before = memory_now()
    step = encoder_forward() if name == LIMIT else training_step(PHASES[name])
    for _ in range(3):
        step()
    print(peak() - before)


def memory_now() -> float:
    if DEVICE.type == "cuda":
        return 0.0
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
    return status_of("VmRSS")


def peak() -> float:
    return torch.cuda.max_memory_allocated() / 2**20 if DEVICE.type == "cuda" else status_of("VmHWM")


def status_of(field: str) -> float:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024


def autocast() -> torch.autocast:
    """bf16 on a GPU, float32 on a CPU."""
    return torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=DEVICE.type == "cuda")


def synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    print_peak(sys.argv[1])
