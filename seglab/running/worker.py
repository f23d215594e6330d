"""A process that takes the runs of a study one after another, so that importing torch is paid once."""

import contextlib
import errno
import gc
import os
import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from seglab.checkpoints import remove
from seglab.cluster.command import words_here
from seglab.cluster.nodes import job_with_nodes
from seglab.interruption import INTERRUPTED, Interrupted, Interruption, held
from seglab.records import Run, StudyRecord, write_json
from seglab.running.execute import Resources, execute
from seglab.running.ledger import claim, failures, remove_leftovers, settled
from seglab.study.study import Study

CommandOf = Callable[[Run], Sequence[str]]

_LIFELINE = "SEGLAB_LIFELINE"
"""Set in the environment of a process whose standard input its worker keeps open as long as it lives."""


def work(
    study: Study,
    runs: Sequence[Run],
    folder: Path,
    record: StudyRecord,
    command_of: CommandOf,
    resources: Resources,
    interruption: Interruption,
    retries: int = 0,
    tuning: bool = False,
) -> int:
    """Do all of `runs` that have no result and that nobody else has, those that fail again up to `retries` times; gives the number that failed.

    Tuning runs never see the test split, and those that have diverged are not tried again.
    """
    failed: set[Run] = set()
    gc.freeze()  # what was imported stays; each run begins by collecting garbage, which would look through all of it again

    def is_open(directory: Path) -> bool:
        return not settled(directory, tuning) and failures(directory) <= retries

    def take(run: Run) -> bool:
        """Whether there was something to do for a run, and it is done."""
        directory = run.directory(folder)
        if settled(directory, tuning):
            remove(directory / "checkpoints" / "resume.ckpt")  # of a process that was killed between result and end
            remove_leftovers(directory)
        lease = claim(directory) if is_open(directory) else None
        if lease is None:
            return False
        try:
            if not is_open(directory):  # somebody has done it between the look and the claim
                return False
            with _log_to(directory / "log.txt"):
                works = _attempt(study, run, folder, record, command_of(run), resources, interruption, tuning)
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
    interruption: Interruption,
    tuning: bool,
) -> bool:
    """Whether the run got its result. Whatever goes wrong in it is written down beside it, and the others go on."""
    directory = run.directory(folder)
    try:
        if resources.processes > 1:
            _as_own_process([*command, *resources.flags], resources)
            if not (directory / "result.json").exists():
                raise RuntimeError("the process of the run ended without a result; its log says why")
        else:
            execute(study, run, folder, record, command, resources, interruption, test=not tuning)
    except Exception as error:  # a run may fail in any way; its first cause is recorded and named
        if interruption.asked:  # what asked this process to stop has ended others that it needs, such as W&B's: no failure of the run
            raise Interrupted from error
        write_failure(directory, error, study.data.batch_size)
        return False
    return True


def write_failure(directory: Path, error: Exception, batch_size: int) -> None:
    """Keep the first cause in `failure.json`, however often the run is tried again, and each traceback in `log.txt`."""
    cause = f"{type(error).__name__}: {_first_line(error, directory, batch_size)}"
    with contextlib.suppress(OSError):  # on a full disk; that the run has failed its lease says too
        if not (directory / "failure.json").exists():
            write_json(directory / "failure.json", {"error": cause, "traceback": traceback.format_exception(error)})
    with contextlib.suppress(OSError):
        traceback.print_exception(error)


def _as_own_process(command: Sequence[str], resources: Resources) -> None:
    """Do a run on several devices in processes of its own.

    On one node Lightning starts the other ranks by the command of rank 0, so that this must be the command of one run. On several nodes the
    scheduler starts all ranks.
    """
    words = words_here(command)
    words[words.index("run")] = "execute"
    threads = max(1, torch.get_num_threads() // resources.devices)  # of this worker's, each process gets its share
    environment = {**os.environ, _LIFELINE: "1", "OMP_NUM_THREADS": str(threads)}
    if resources.num_nodes > 1:
        job = job_with_nodes(resources.num_nodes)
        words = [*job.start_on_nodes(resources.num_nodes, resources.devices), *words]
        environment |= job.rendezvous()
    with held():
        process = subprocess.Popen(words, stdin=subprocess.PIPE, env=environment)
    code, interrupted = _passing_signals_on(process)
    if interrupted or code == INTERRUPTED:
        raise Interrupted
    if code != 0:
        raise RuntimeError(f"the process of the run ended with exit code {code}; its log says why")


def _passing_signals_on(process: "subprocess.Popen[bytes]") -> tuple[int, bool]:
    """Wait for a process; gives its exit code, and whether this one was asked to stop meanwhile."""
    interrupted = False
    while True:
        try:
            return process.wait(), interrupted
        except Interrupted:
            interrupted = True
            process.terminate()


def end_with_worker() -> None:
    """End this process when the worker that started it dies: its lease dies with it, and somebody else will do the run."""
    if _LIFELINE in os.environ:
        threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    os.read(0, 1)  # nothing is ever written; it returns when the other end is closed
    os._exit(INTERRUPTED)


def _first_line(error: Exception, directory: Path, batch_size: int) -> str:
    text = str(error).strip()
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{text} (the disk of {directory} is full: free some of it, and the same command goes on from the last checkpoint)"
    if re.search(r"out of memory|can't allocate memory|not enough memory", text, re.IGNORECASE):
        remedy = f"data.batch_size is {batch_size}: lower it, or data.size; `accumulate` keeps the batch of a step"
        return f"{text.splitlines()[0]} ({remedy})"
    return text.splitlines()[0] if text else "no message"


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send all that this process prints, and its children, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with path.open("a", buffering=1) as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
        finally:
            with contextlib.suppress(OSError):  # the disk is full
                sys.stdout.flush()
                sys.stderr.flush()
            for copy, descriptor in zip(kept, (1, 2), strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)
