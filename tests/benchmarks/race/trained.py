"""Train one side of the race and print its costs: `python -m tests.benchmarks.race.trained SIDE FOLDER STARTED`."""

import time

BEGAN = time.time(), time.perf_counter(), time.process_time()

import importlib  # noqa: E402 - the imports are measured
import json  # noqa: E402
import math  # noqa: E402
import sys  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402


def main() -> None:
    """Train a side. STARTED is the time at which its process was started, in seconds since the epoch."""
    name, folder, started = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    warnings.filterwarnings("ignore")
    side = importlib.import_module(f"tests.benchmarks.race.{name}")
    imported = time.perf_counter() - BEGAN[1], time.process_time() - BEGAN[2]
    from tests.benchmarks.race.shared import CLOCK, Folder

    work = Folder(folder)
    work.watch()
    scores = side.train(work)
    second_step = CLOCK.epochs[0][1]
    first = second_step.wall - BEGAN[1] + BEGAN[0] - started, second_step.cpu
    found = {"import": imported, "first": first, "memory": peak_memory(), "epochs": CLOCK.epochs, "losses": CLOCK.losses, "scores": scores}
    print(json.dumps(found))


def peak_memory() -> float:
    """Return the peak memory of the CUDA device, or else of this process (on Linux; NaN elsewhere), in MiB."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), math.nan)


if __name__ == "__main__":
    main()
