"""`--runs_per_device auto`: the number of runs at a time on each GPU, from the memory of runs that are done."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from seglab.processors import available_cpus
from seglab.records import read_result

USABLE = 0.9
"""Fraction of the free memory that runs may fill."""

RESERVED = 1.3
"""Memory that PyTorch reserves, for each MiB that a run allocates at its peak: freed blocks stay in its cache."""

CONTEXT_MIB = 600.0
"""Memory of a process on a GPU before it allocates a tensor: CUDA's context and the loaded kernels."""

_PROBE = """
import json, torch
gpus = range(torch.cuda.device_count())
print(json.dumps([torch.cuda.get_device_name(0), min(torch.cuda.mem_get_info(gpu)[0] for gpu in gpus) / 2**20, len(gpus)]))
"""


@dataclass(frozen=True)
class Machine:
    """GPUs and cores of a machine."""

    gpu: str
    """Name of the first GPU."""
    free_mib: float
    """Free memory in MiB of the GPU that has least."""
    gpus: int
    cores: int

    @classmethod
    def here(cls) -> "Machine":
        """Return this machine.

        Another process looks at the GPUs, because a process that does so keeps memory on each of them.

        Raises:
            ValueError: PyTorch cannot open the GPUs.
        """
        done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True)
        if done.returncode != 0:
            why = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ValueError(f"--runs_per_device auto: the memory of the GPUs cannot be read ({why}); give a number of runs")
        gpu, free, gpus = json.loads(done.stdout.splitlines()[-1])
        return cls(gpu, free, gpus, available_cpus())


def needed_mib(folders: Iterable[Path], gpu: str) -> float | None:
    """Return the memory in MiB that a run needs: that of the largest run in `folders` that finished on such a `gpu`.

    Return None if there is no such run.
    """
    peaks = [peak for folder in folders if (peak := _peak_mib(folder, gpu)) is not None]
    return RESERVED * max(peaks) + CONTEXT_MIB if peaks else None


def _peak_mib(folder: Path, gpu: str) -> float | None:
    """Return the memory that the run in `folder` allocated at its peak; None if it did not finish on such a `gpu`."""
    try:
        if json.loads((folder / "environment.json").read_text(encoding="utf-8"))["device"] != gpu:
            return None
        return read_result(folder / "result.json").cost.get("peak_memory_mib")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def runs_per_device(need_mib: float, machine: Machine) -> int:
    """Return the number of runs at a time on each GPU: as many as fit into its memory, each with a core; at least one.

    >>> runs_per_device(need_mib=4_000, machine=Machine("A100", free_mib=80_000, gpus=2, cores=64))
    18
    >>> runs_per_device(need_mib=4_000, machine=Machine("A100", free_mib=80_000, gpus=2, cores=8))
    4
    """
    return max(1, min(int(USABLE * machine.free_mib / need_mib), machine.cores // machine.gpus))


def why(need_mib: float, machine: Machine) -> str:
    """Return a line for people that explains `runs_per_device`."""
    number = runs_per_device(need_mib, machine)
    runs = f"{number} run{'' if number == 1 else 's'} at a time on each GPU"
    memory = f"a run needs {need_mib / 1024:.1f} of {machine.free_mib / 1024:.1f} GiB"
    cores = f", and a core of {machine.cores}" if (number + 1) * need_mib <= USABLE * machine.free_mib else ""
    return f"auto: {runs}: {memory}{cores}"
