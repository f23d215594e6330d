"""A process that takes the runs of a study one after another, so that importing torch is paid once."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from seglab.run import Run, StudyRecord, write_json
from seglab.study.execute import Resources, execute
from seglab.study.ledger import claim, failures, settled
from seglab.study.study import Study

INTERRUPTED = 75
"""Exit code of a process that was asked to stop and can be started again."""


class Interrupted(BaseException):
    """This process was asked to stop; not an error of the run, so no `except Exception` may take it for one."""


CommandOf = Callable[[Run], Sequence[str]]


def work(
    study: Study,
    runs: Sequence[Run],
    folder: Path,
    record: StudyRecord,
    command_of: CommandOf,
    resources: Resources,
    retries: int = 0,
    tuning: bool = False,
) -> int:
    """Do all of `runs` that have no result and that nobody else has, those that fail again up to `retries` times; gives the number that failed.

    Tuning runs never see the test split, and those that have diverged are not tried again.
    """
    asked = _install_handlers()
    failed: set[Run] = set()

    def is_open(directory: Path) -> bool:
        return not settled(directory, tuning) and failures(directory) <= retries

    def take(run: Run) -> bool:
        """Whether there was something to do for a run, and it is done."""
        directory = run.directory(folder)
        lease = claim(directory) if is_open(directory) else None
        if lease is None:
            return False
        try:
            if not is_open(directory):  # somebody has done it between the look and the claim
                return False
            with _log_to(directory / "log.txt"):
                works = _attempt(study, run, folder, record, command_of(run), resources, asked, tuning)
            if works:
                failed.discard(run)
            else:
                failed.add(run)
                lease.fail()
            return True
        finally:
            lease.release()

    while sum(map(take, runs)):  # again, for what has failed or was given up by others meanwhile
        pass
    return len(failed)


def _attempt(
    study: Study,
    run: Run,
    folder: Path,
    record: StudyRecord,
    command: Sequence[str],
    resources: Resources,
    asked: threading.Event,
    tuning: bool,
) -> bool:
    """Whether the run got its result. Whatever goes wrong in it is written down beside it, and the others go on."""
    directory = run.directory(folder)
    try:
        if resources.devices > 1:
            _as_own_process(command)
            if not (directory / "result.json").exists():
                raise RuntimeError("the process of the run ended without a result; its log says why")
        else:
            execute(study, run, folder, record, command, resources, test=not tuning)
    except Exception as error:  # a run may fail in any way; its first cause is recorded and named
        if asked.is_set():  # what asked this process to stop has ended others that it needs, such as W&B's: no failure of the run
            raise Interrupted from error
        write_failure(directory, error)
        return False
    return True


def write_failure(directory: Path, error: Exception) -> None:
    """Keep the first cause of a failure in `failure.json`, the traceback in `log.txt`."""
    traceback.print_exception(error)
    if not (directory / "failure.json").exists():
        write_json(
            directory / "failure.json",
            {"error": f"{type(error).__name__}: {_first_line(error)}", "traceback": traceback.format_exception(error)},
        )


def _as_own_process(command: Sequence[str]) -> None:
    """A run on several devices: Lightning starts its other ranks by this very command, so it must be the command of one run."""
    words = [sys.executable if command[0] == "python" else command[0], *command[1:]]
    words[words.index("run")] = "execute"
    process = subprocess.Popen(words)
    try:
        code = process.wait()
    except Interrupted:
        process.terminate()
        process.wait()
        raise
    if code != 0:
        raise RuntimeError(f"the process of the run ended with exit code {code}; its log says why")


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    if "out of memory" in text.lower():
        return text.splitlines()[0] + " (lower data.batch_size, or data.size; `accumulate` keeps the batch of a step)"
    return text.splitlines()[0] if text else "no message"


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send all that this process prints, and its children, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with path.open("w", buffering=1) as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for copy, descriptor in zip(kept, (1, 2), strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)


def _install_handlers() -> threading.Event:
    """TERM ends this process in order, and so does what a cluster sends before a job's time is up; a second one, which may be the same signal
    by another way, changes nothing. The event says that it has come. Ctrl-C reaches it as TERM from the process that started it."""
    asked = threading.Event()
    signals = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

    def stop(number: int, frame: FrameType | None) -> None:
        asked.set()
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted

    for each in signals:
        signal.signal(each, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    return asked
