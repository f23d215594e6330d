"""Measure the time and memory that a run costs."""

import gc
import math
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from seglab.module import SegmentationModule

_CLEAR = Path("/proc/self/clear_refs")


class Spent(Callback):
    """Measures time and peak memory of a run over all its attempts.

    A resumed run continues from the values in its checkpoint, so that the time of repeated steps counts once.

    Args:
        on_gpu: measure the memory of the CUDA device; otherwise the memory of this process.
    """

    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu = on_gpu
        self._began = time.perf_counter()
        self._earlier_seconds = 0.0
        self._earlier_peak = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since the run began, time between attempts not included."""
        return self._earlier_seconds + time.perf_counter() - self._began

    @property
    def peak_memory_mib(self) -> float:
        """Peak memory in MiB over all attempts."""
        return max(_peak_memory_mib(self.on_gpu), self._earlier_peak)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "peak_memory_mib": self.peak_memory_mib}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._earlier_seconds, self._earlier_peak = state_dict["seconds"], state_dict["peak_memory_mib"]


def cost(module: SegmentationModule, spent: Spent, training_seconds: float) -> dict[str, float]:
    """Return the `cost` of a finished run's result.

    Args:
        module: the trained module.
        spent: the measurement of the whole run.
        training_seconds: seconds of the run before the test.
    """
    weights = [weight.tensor for weight in module.weights().values() if weight.kind == "weight"]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    parameters = list(module.network.parameters())
    return {
        "seconds": spent.seconds,
        "training_seconds": training_seconds,
        "peak_memory_mib": spent.peak_memory_mib,
        "parameters": float(sum(parameter.numel() for parameter in parameters)),
        "trainable_parameters": float(sum(parameter.numel() for parameter in parameters if parameter.requires_grad)),
        "exact_zeros": zeros / max(1, sum(weight.numel() for weight in weights)),
    }


def forget_peak_memory(on_gpu: bool) -> None:
    """Free the memory that earlier runs of this process have left, then reset the peak memory."""
    gc.collect()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    elif _CLEAR.exists():
        _CLEAR.write_text("5")  # proc(5): resets VmHWM


def _peak_memory_mib(on_gpu: bool) -> float:
    """Return the peak memory of the CUDA device, or of this process (on Linux; NaN elsewhere)."""
    if on_gpu:
        return torch.cuda.max_memory_allocated() / 2**20
    if not _CLEAR.exists():
        return math.nan
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024
