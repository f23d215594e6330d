"""Process-wide settings of a run: set while the run trains, and restored afterwards, even if the run fails."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator

import torch

from seglab.memory import keep_freed_memory
from seglab.tracking import shown_log

_ASKS_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"


@contextlib.contextmanager
def run_settings() -> Iterator[None]:
    """Set all that a run changes in its process (torch's determinism, logs, warnings), and restore it at the end.

    Freed memory stays with the process from now on.
    """
    keep_freed_memory()
    with _determinism(), _gpus_counted_by_cuda(), _quiet_libraries(), shown_log():
        yield


@contextlib.contextmanager
def _determinism() -> Iterator[None]:
    """Switch off the filling of new tensors.

    At the end, restore this switch and the deterministic mode that the trainer sets.

    `fill_uninitialized_memory` is a debugging aid of the deterministic mode that costs a pass over every new tensor. No
    result depends on it (https://github.com/pytorch/pytorch/issues/117081).
    """
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    enabled, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark


@contextlib.contextmanager
def _gpus_counted_by_cuda() -> Iterator[None]:
    """Let torch count GPUs by CUDA on a machine without GPUs.

    torch counts them in each optimizer step. Lightning lets it ask NVML, which leaves a GPU usable after a fork.
    Without GPUs, torch then looks for the library of NVML anew each time, which takes a quarter of a millisecond a
    step.
    """
    before = os.environ.get(_ASKS_NVML)
    if before is None or torch.cuda.is_available():
        yield
        return
    os.environ[_ASKS_NVML] = "0"
    try:
        yield
    finally:
        os.environ[_ASKS_NVML] = before


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Silence messages that libraries print in every run and that need no reaction."""
    logs = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message="The .srun. command is available")
            warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")  # Lightning 2.6 on torch 2.14
            warnings.filterwarnings("ignore", message="Be aware that when using `ckpt_path`")  # the module brings StepOrder later
            # the metric has summed over ranks
            warnings.filterwarnings("ignore", message=".*when logging on epoch level in distributed setting.*")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
