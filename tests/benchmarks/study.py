"""Measure a study's overhead: the ledger, a study of short runs, the planning of many, and two processes against one.

python -m tests.benchmarks.study SEED… trains by hand under these seeds, one after the other in one process, and prints
the wall and CPU seconds of each training.
"""

import contextlib
import csv
import ctypes
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from rich.console import Console
from rich.table import Table

from seglab.records import Result, read_result
from seglab.running import ledger
from tests.benchmarks.short_by_hand import by_hand
from tests.benchmarks.short_experiment import DATA

T = TypeVar("T")

SCRIPT = Path(__file__).with_name("short_experiment.py")
SHORT_RUN = 10.0
"""Seconds; what the cost of the ledger is compared with."""


class Seconds(NamedTuple):
    wall: float
    cpu: float
    """CPU time of a process and all its descendants; not of what else runs on the machine."""


def beat(lease: ledger.Lease) -> None:
    """Do what the thread of a lease does every 15 seconds."""
    ledger._generation(lease.path.parent)
    os.utime(lease.path)


def bench_ledger(console: Console) -> None:
    """Each operation on the folders of a thousand runs."""
    with tempfile.TemporaryDirectory() as root:
        folders = [Path(root) / f"seed-{seed}" for seed in range(1000)]
        leases: list[ledger.Lease] = []
        times = {
            "state, nobody has it": timed(ledger.state, folders),
            "claim": timed(lambda folder: leases.extend(filter(None, [ledger.claim(folder)])), folders),
            "beat (every 15 s)": timed(beat, leases),
            "state, somebody has it": timed(ledger.state, folders),
            "release": timed(ledger.Lease.release, leases),
        }
    once = [sum(of) for of in zip(*(values for name, values in times.items() if "beat" not in name), strict=True)]
    show_ledger(console, {**times, "a run's all but beats": once})


def bench_study(console: Console) -> None:
    """Half of the trainings by hand come before the study, half after it, so that drift meets both alike."""
    with tempfile.TemporaryDirectory() as root:
        by_hand, scripts = [trained_by_hand(range(6))], [trained_by_hand([seed]) for seed in range(2)]
        began = time.time()
        whole = of_command(script("run", "--root", root, "--accelerator", "cpu", "--jobs", "1"))
        ended = time.time()
        by_hand.append(trained_by_hand(range(6, 12)))
        scripts += [trained_by_hand([seed]) for seed in range(10, 12)]
        paths = sorted(Path(root).glob("rates/*/seed-*/result.json"), key=lambda path: path.stat().st_mtime)
        results = [read_result(path) for path in paths]
        planned, last = (Path(root) / "rates" / "study.json").stat().st_mtime - began, ended - paths[-1].stat().st_mtime
    show_study(console, by_hand, scripts, whole, parts_of(results, whole.wall, planned, last))


def bench_planning(console: Console, arms: int = 10, seeds: int = 1000) -> None:
    """Commands on a study of which all folders are there, and half of the results.

    An unfinished one's `run` is stopped when it starts.
    """
    with tempfile.TemporaryDirectory() as root:
        given = ["--root", root, "--accelerator", "cpu", "--rates", str(arms), "--epochs", "1", "--data.source.num_train", "16"]
        of_command(script("run", *given, "--seeds", "1", "--arm", "lr-0"))
        folder = Path(root) / "rates"
        make_folders(folder, arms, seeds)
        commands = {
            "import of torch and lightning alone": [sys.executable, "-c", "import torch, lightning"],
            "run --dry_run": script("run", *given, "--seeds", str(seeds), "--dry_run"),
            "status": script("status", "--root", root),
        }
        times = {name: [of_command(words).wall for _ in range(3)] for name, words in commands.items()}
        words = script("run", *given, "--seeds", str(seeds))
        times["run, until its worker starts"] = [until_it_starts(words, folder / "logs" / "worker-0.log") for _ in range(3)]
    title = f"a study of {arms} arms × {seeds} seeds, {arms * seeds // 2} of them done, s"
    show(console, title, ("median", "fastest"), {name: (statistics.median(values), min(values)) for name, values in times.items()}, ".1f")


def bench_ranks(console: Console) -> None:
    """Compare one training on one process and on two, with one thread each and the same total batch.

    The first epoch is not counted.
    """
    sizes = ["--encoder", "resnet18", "--data.source.image_size", "64", "--data.batch_size", "16", "--data.source.num_train", "128"]
    rates: dict[int, list[float]] = {}
    for devices in (1, 2):
        with tempfile.TemporaryDirectory() as root:
            one = ["--rates", "1", "--seeds", "1", "--epochs", "4", "--wandb", "disabled", "--diagnostics", "0"]
            of_command(script("run", "--root", root, "--accelerator", "cpu", "--devices", str(devices), *sizes, *one))
            rates[devices] = list(images_per_second(Path(root) / "rates" / "lr-0" / "seed-0" / "metrics.csv"))[1:]
    base = statistics.median(rates[1]), max(rates[1])
    title = f"images/s, U-Net resnet18, 16 × 64² in all, CPU, {os.cpu_count()} cores"
    rows = {}
    for devices, found in rates.items():
        middle, most = statistics.median(found), max(found)
        rows["1 process" if devices == 1 else f"{devices} processes"] = (middle, middle / base[0], most, most / base[1])
    show(console, title, ("median", "ratio", "most", "ratio"), rows, ".2f")


def script(*words: str) -> list[str]:
    return [sys.executable, str(SCRIPT), *words]


def one_thread() -> dict[str, str]:
    """So that as many processes can be compared as there are processors, and none waits for another's threads."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def of_command(words: Sequence[str]) -> Seconds:
    """Run a command.

    Its CPU time includes that of the forked workers, for whose parent, the fork server, `run` does not wait.
    """
    adopt_orphans()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True, env=one_thread())
    wall = time.perf_counter() - began
    with contextlib.suppress(ChildProcessError):  # all have ended
        while True:
            os.wait()
    return Seconds(wall, since(began, before).cpu)


def adopt_orphans() -> None:
    """Make this process the parent of each descendant whose own parent ends (prctl(2), PR_SET_CHILD_SUBREAPER).

    Only Linux can.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def since(began: float, before: resource.struct_rusage) -> Seconds:
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Seconds(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


class ByHand(NamedTuple):
    """A process that trains by hand, several times."""

    trainings: list[Seconds]
    """Each with validation and test."""
    rest: Seconds
    """Its imports, its start and its end."""


def trained_by_hand(seeds: Sequence[int]) -> ByHand:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    words = [sys.executable, "-m", "tests.benchmarks.study", *map(str, seeds)]
    printed = subprocess.run(words, check=True, capture_output=True, text=True, env=one_thread()).stdout
    whole, trainings = since(began, before), [Seconds(*seconds) for seconds in json.loads(printed.splitlines()[-1])]
    return ByHand(trainings, Seconds(*(of - sum(parts) for of, parts in zip(whole, zip(*trainings, strict=True), strict=True))))


def print_by_hand(seeds: Sequence[int]) -> None:
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    found = []
    for seed in seeds:
        began = time.perf_counter(), time.process_time()
        by_hand(DATA.with_seed(seed))
        found.append(Seconds(time.perf_counter() - began[0], time.process_time() - began[1]))
    print(json.dumps(found))


def parts_of(results: Sequence[Result], wall: float, planned: float, last: float) -> dict[str, float]:
    """Return the parts of a study's wall time."""
    training = sum(result.cost["training_seconds"] for result in results)
    testing = sum(result.cost["seconds"] for result in results) - training
    rest = wall - training - testing - planned - last
    return {
        "training and validation, its log, W&B's, and 20 looks at the weights": training,
        "test, pictures": testing,
        "before the first run: import, arms built, data checked": planned,
        "after the last: comparison, report": last,
        "the worker's import; of each run the arm and data checked against study.json, W&B's start, train split, checkpoint": rest,
    }


def make_folders(folder: Path, arms: int, seeds: int) -> None:
    """Make folders as interrupted runs leave them; in every other one a result."""
    result = json.loads((folder / "lr-0" / "seed-0" / "result.json").read_text())
    for arm in range(arms):
        for seed in range(seeds):
            directory = folder / f"lr-{arm}" / f"seed-{seed}"
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "lease.0").write_text("elsewhere 1\nreleased\n")
            if seed % 2 == 0:
                own = result | {"run": {"study": "rates", "arm": f"lr-{arm}", "seed": seed}}
                (directory / "result.json").write_text(json.dumps(own, indent=1))


def until_it_starts(words: Sequence[str], log: Path) -> float:
    """Seconds from a `run` to the start of its worker, after which it is stopped."""
    log.unlink(missing_ok=True)
    began = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=one_thread())
    try:
        while not log.exists():
            if process.poll() is not None:
                raise RuntimeError(f"{words}: ended with exit code {process.returncode} before a worker started")
            time.sleep(0.01)
        return time.perf_counter() - began
    finally:
        process.terminate()  # and its worker with it
        process.wait()


def images_per_second(metrics: Path) -> Iterator[float]:
    """Return the images per second of each epoch."""
    with metrics.open() as file:
        yield from (float(row["perf/images_per_s"]) for row in csv.DictReader(file) if row["perf/images_per_s"])


def timed(work: Callable[[T], object], things: Sequence[T]) -> list[float]:
    """The seconds that each takes."""
    found = []
    for thing in things:
        began = time.perf_counter()
        work(thing)
        found.append(time.perf_counter() - began)
    return found


def show_ledger(console: Console, times: dict[str, list[float]]) -> None:
    rows = {}
    for name, values in times.items():
        middle, fastest = statistics.median(values), min(values)
        rows[name] = (1e3 * middle, 1e3 * fastest, 100 * middle / SHORT_RUN)
    show(console, "the ledger, of 1000 runs", ("median ms", "fastest ms", f"% of a run of {SHORT_RUN:.0f} s"), rows, ".3f")


def show_study(console: Console, by_hand: Sequence[ByHand], scripts: Sequence[ByHand], whole: Seconds, parts: dict[str, float]) -> None:
    """By hand is training, validation after each epoch, and test, by Lightning."""
    trainings = [seconds for process in by_hand for seconds in process.trainings]
    training, imports = total(trainings), total([process.rest for process in by_hand])
    once = Seconds(*(of + rest / len(by_hand) for of, rest in zip(training, imports, strict=True)))
    alone = total([seconds for process in scripts for seconds in (*process.trainings, process.rest)])
    rows = {
        f"{len(trainings)} × training, validation, test by hand in one process": training,
        "the same and its imports, once": once,
        f"{len(trainings)} × a script that trains once, by {len(scripts)} of them": Seconds(
            *(of * len(trainings) / len(scripts) for of in alone)
        ),
        "`run` of 3 arms × 4 seeds, one worker": whole,
    }
    title = f"a study of short runs, CPU, one thread; by hand a run takes {statistics.median(of.wall for of in trainings):.1f} s"
    shown = {name: (of.wall, of.wall / once.wall, of.cpu, of.cpu / once.cpu) for name, of in rows.items()}
    show(console, title, ("wall s", "ratio to the second row", "CPU s", "ratio"), shown, ".2f")
    shares = {name: (value, value / once.wall) for name, value in parts.items()}
    show(console, "of it", ("wall s", "ratio"), shares, ".2f")


def total(seconds: Sequence[Seconds]) -> Seconds:
    return Seconds(*map(sum, zip(*seconds, strict=True)))


def show(console: Console, title: str, headings: Sequence[str], rows: Mapping[str, Sequence[float]], form: str) -> None:
    table = Table(title=title, title_justify="left")
    for heading in ("", *headings):
        table.add_column(heading, justify="right" if heading else "left")
    for name, values in rows.items():
        table.add_row(name, *(format(value, form) for value in values))
    console.print(table)


if __name__ == "__main__":
    print_by_hand([int(word) for word in sys.argv[1:]])
