"""Show where the time of a study went: the table of `run --profile`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from seglab.running.profile import FILE, Profiled, read_profile

BEFORE = ("settings compared with the record", "data cache", "network built", "loggers, W&B: start")
"""Parts of a run before its training, in the order of their times."""


def show_profile(parts: dict[str, float], steps: int, console: Console) -> None:
    """Print the seconds of each part, its share, and for parts of a training step the milliseconds of one step."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title="where the time went", title_justify="left")
    for heading in ("part", "seconds", "share", "ms a step"):
        table.add_column(heading, justify="left" if heading == "part" else "right", no_wrap=True)
    whole = sum(parts.values())
    for name, seconds in parts.items():
        each = f"{1e3 * seconds / steps:.2f}" if name.startswith("step") and steps else ""
        table.add_row(name, f"{seconds:.1f}", f"{100 * seconds / whole:.1f} %", each)
    table.add_section()
    table.add_row("in all", f"{whole:.1f}", "100 %", "")
    console.print(table)
    if steps:
        console.print(f"{FILE} in the folder of each run is its trace: open it at https://ui.perfetto.dev", highlight=False)


class Times(NamedTuple):
    """Moments of a `run`, in seconds since 1970."""

    started: float
    """The process starts."""
    checking: float
    """The first check begins."""
    trained: float
    """The last worker has ended."""
    ended: float


def parts_of(directories: Sequence[Path], times: Times) -> tuple[dict[str, float], int]:
    """Return the seconds of each part of a `run` over all its processes, and the number of training steps.

    The parts are in the order of their times.

    Args:
        directories: folders of the runs. Runs that this `run` has not finished count nothing; see `unfinished`.
        times: moments of the `run`.
    """
    read = [read_profile(directory) for directory in directories]
    found = [profile for profile in read if profile is not None and profile.began > times.checking]
    workers = _workers(found)
    seconds = Counter[str]()
    for profile in found:
        seconds.update(profile.seconds)
    between = sum(worker.last - worker.first for worker in workers) - sum(seconds.values())
    before = {name: seconds.pop(name) for name in BEFORE if name in seconds}
    steps = {name: seconds.pop(name) for name in sorted(seconds) if name.startswith(("step", "training"))}
    parts = {
        "run: imports, command line": times.checking - times.started,
        "run: checks, a step of each new arm": min((worker.started for worker in workers), default=times.trained) - times.checking,
        "workers: imports, plan": sum(worker.first - worker.started for worker in workers),
        **before,
        **steps,
        **seconds,
        "workers: records, between runs": between,
        "workers: end": times.trained - max((profile.ended for profile in found), default=times.trained),
        "run: comparison, report": times.ended - times.trained,
    }
    return parts, sum(profile.steps for profile in found)


def unfinished(directories: Sequence[Path], times: Times) -> int:
    """Return the number of runs that this `run` has begun and not finished, so that they have no profile."""
    logs = [directory / "log.txt" for directory in directories if read_profile(directory) is None]
    return sum(log.exists() and log.stat().st_mtime > times.checking for log in logs)


class _Worker(NamedTuple):
    """Times of a worker: its start, the start of its first run, and the end of its last one."""

    started: float
    first: float
    last: float


def _workers(profiles: Sequence[Profiled]) -> list[_Worker]:
    """Return the times of each process that has done runs."""
    found = []
    for process in dict.fromkeys(profile.process for profile in profiles):
        mine = [profile for profile in profiles if profile.process == process]
        found.append(_Worker(mine[0].process_started, min(run.began for run in mine), max(run.ended for run in mine)))
    return found
