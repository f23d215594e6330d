"""Number of workers on a machine, and the CPU threads of each, which libraries read from `OMP_NUM_THREADS` at import.

No torch.
"""

import os
import sys
from collections.abc import Mapping

from seglab.processors import SHARE, available_cpus

VARIABLE = "OMP_NUM_THREADS"

SHARED = "SEGLAB_THREADS"
"""Environment variable that marks `VARIABLE` as set by `share_early`, and not by the user."""

_READERS = frozenset({"numpy", "scipy", "torch", "cv2"})
"""Packages that read `VARIABLE` when they are imported."""


def workers_on(gpus: int, devices: int, runs_per_device: int | None = None) -> int:
    """Return the number of runs at a time on a machine: `runs_per_device` on each GPU, or group of `devices` GPUs.

    Without GPUs, the runs are on the CPU.

    >>> workers_on(4, devices=1), workers_on(4, devices=2, runs_per_device=3), workers_on(0, devices=1, runs_per_device=2)
    (4, 6, 2)
    """
    return max(1, gpus // devices) * (1 if runs_per_device is None else runs_per_device)


def share(workers: int) -> int:
    """Return the number of threads of each of `workers` on this machine."""
    return max(1, available_cpus() // workers)


def share_early(workers: int) -> None:
    """Give this process the threads of one of `workers`, so that it can be forked into one.

    Do nothing if the user has set the number, or if a library has read it already.
    """
    if VARIABLE not in os.environ and _READERS.isdisjoint(sys.modules):
        os.environ[VARIABLE] = os.environ[SHARED] = str(share(workers))


def worker_environment(workers: int) -> dict[str, str]:
    """Return the environment of each of `workers`: this process's own, with a share of the processors.

    If the user has set the number of threads, that number stays. The processes that load data follow from the share in
    any case.
    """
    environment = {name: value for name, value in os.environ.items() if name != SHARED}
    if VARIABLE not in environment or SHARED in os.environ:
        environment[VARIABLE] = str(share(workers))
    environment[SHARE] = str(share(workers))
    return environment


def read_at_import(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `environment` that libraries of numbers, threads and memory read when they are loaded."""
    kinds = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "DNNL_", "ONEDNN_", "ATEN_", "MALLOC_", "LD_PRELOAD", "GLIBC_TUNABLES")
    return {name: value for name, value in environment.items() if name.startswith(kinds)}
