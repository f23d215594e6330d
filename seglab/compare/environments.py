"""Read the `environment.json` of runs: the machine on which each was trained."""

import json
from collections.abc import Iterable
from pathlib import Path

from seglab.records import Run


def cpu_threads(folder: Path, runs: Iterable[Run]) -> dict[Run, int]:
    """Return the number of CPU threads of each run that computed on a CPU.

    Runs on GPUs, and runs without a readable file, are left out.
    """
    found = {}
    for run in runs:
        try:
            environment = json.loads((run.directory(folder) / "environment.json").read_text(encoding="utf-8"))
            device, platform, threads = environment["device"], environment["platform"], int(environment["threads"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if str(device) in str(platform):  # the name of a processor, such as x86_64, and not of a GPU
            found[run] = threads
    return found


def devices(folder: Path, runs: Iterable[Run]) -> tuple[str, ...]:
    """Return the names of the processors on which runs were trained, each once.

    Runs without a readable file are left out.
    """
    found = set()
    for run in runs:
        try:
            environment = json.loads((run.directory(folder) / "environment.json").read_text(encoding="utf-8"))
            found.add(str(environment["device"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return tuple(sorted(found))
