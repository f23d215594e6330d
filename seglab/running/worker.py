"""A worker: a process that does the runs of a study one after another, so that it imports torch only once."""

import contextlib
import gc
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from seglab.checkpoints import remove
from seglab.cluster.command import words_here
from seglab.cluster.nodes import job_with_nodes
from seglab.exit_codes import INTERRUPTED
from seglab.files import FULL
from seglab.interruption import LIFELINE, Interrupted, Interruption, at_the_end_of, signals_blocked
from seglab.records import Run, write_json
from seglab.running.execute import execute
from seglab.running.job import Job
from seglab.running.ledger import claim, remove_leftovers
from seglab.running.resources import Resources


class RunFailedError(Exception):
    """A run failed. Its cause is in the folder of the run."""


def work(jobs: Sequence[Job], interruption: Interruption) -> int:
    """Do all jobs that have no result and no live owner; return the number of runs that failed.

    A run that fails is tried again up to `retries` times.
    """
    gc.freeze()  # each run begins with a garbage collection, which now skips the imported objects
    failed: set[Run] = set()
    while sum([_take(job, failed, interruption) for job in jobs]):  # repeat for runs that failed or that other workers gave up
        pass
    return len(failed)


def _take(job: Job, failed: set[Run], interruption: Interruption) -> bool:
    """Try a job if it is open and has no owner; return whether it was tried.

    Update `failed`, the runs whose last try failed.
    """
    if job.is_settled:
        remove(job.resume_checkpoint)  # left by a process that was killed after it wrote the result
        remove_leftovers(job.directory)
    lease = claim(job.directory) if job.is_open else None
    if lease is None:
        return False
    try:
        with lease:
            if not job.is_open:  # another worker finished the run between the check and the claim
                return False
            with _log_to(job.directory / "log.txt"):
                _try(job, interruption)
            failed.discard(job.run)
    except RunFailedError:
        failed.add(job.run)
    return True


def _try(job: Job, interruption: Interruption) -> None:
    """Bring a job to its result, in this process or, on several devices, in separate processes.

    Raises:
        RunFailedError: the run failed. The cause is written into its folder, so that the worker can go on with other
            runs.
        Interrupted: this process was asked to stop.
    """
    try:
        if job.resources.processes > 1:
            _as_own_process([*job.command, *job.resources.worker_flags], job.resources)
            if not job.is_settled:
                raise RuntimeError("the process of the run ended without a result; its log says why")
        else:
            execute(job, interruption)
    except Exception as error:  # a run can fail with any exception; the first cause is recorded
        if interruption.asked:  # the signal may also have ended processes that the run needs, such as W&B's: not a failure of the run
            raise Interrupted from error
        write_failure(job.directory, error, job.study.data.batch_size)
        raise RunFailedError from error


def write_failure(directory: Path, error: Exception, batch_size: int) -> None:
    """Write the cause to `failure.json` at the first failure of the run, and the traceback to `log.txt` each time."""
    cause = f"{type(error).__name__}: {_first_line(error, directory, batch_size)}"
    with contextlib.suppress(OSError):  # for example a full disk; the lease records the failure too
        if not (directory / "failure.json").exists():
            write_json(directory / "failure.json", {"error": cause, "traceback": traceback.format_exception(error)})
    with contextlib.suppress(OSError):
        traceback.print_exception(error)


def _as_own_process(command: Sequence[str], resources: Resources) -> None:
    """Train a run on several devices in separate processes.

    On one node, Lightning starts the other ranks by repeating the command of rank 0. Rank 0 must therefore be started
    by the command of this run, not by the worker's. On several nodes, the scheduler starts all ranks.
    """
    words = words_here(command)
    words[words.index("run")] = "execute"
    threads = max(1, torch.get_num_threads() // resources.devices)  # each process gets its share of this worker's
    environment = {**os.environ, LIFELINE: "1", "OMP_NUM_THREADS": str(threads)}
    if resources.num_nodes > 1:
        job = job_with_nodes(resources.num_nodes)
        words = [*job.start_on_nodes(resources.num_nodes, resources.devices), *words]
        environment |= job.rendezvous()
    with signals_blocked():
        process = subprocess.Popen(words, stdin=subprocess.PIPE, env=environment)
    with process:
        code, interrupted = _passing_signals_on(process)
    if interrupted or code == INTERRUPTED:
        raise Interrupted
    if code != 0:
        raise RuntimeError(f"the process of the run ended with exit code {code}; its log says why")


def _passing_signals_on(process: "subprocess.Popen[bytes]") -> tuple[int, bool]:
    """Wait for a process and pass signals on to it.

    Return its exit code, and whether this process was asked to stop meanwhile.
    """
    interrupted = False
    while True:
        try:
            return process.wait(), interrupted
        except Interrupted:
            interrupted = True
            process.terminate()


def end_with_worker() -> None:
    """End this rank when the worker that started it dies.

    Another worker then takes over the worker's lease and the run.

    Lightning's launcher passes the standard input and the environment of rank 0 on to the other ranks.
    """
    if LIFELINE in os.environ:
        at_the_end_of(0, lambda: os._exit(INTERRUPTED))


def _first_line(error: Exception, directory: Path, batch_size: int) -> str:
    """Return the first line of an error's message, with a remedy where one is known."""
    text = str(error).strip()
    if isinstance(error, OSError) and error.errno in FULL:
        return f"{text} (the disk of {directory} is full: free some of it, and the same command goes on from the last checkpoint)"
    if re.search(r"out of memory|can't allocate memory|not enough memory", text, re.IGNORECASE):
        remedy = f"data.batch_size is {batch_size}: lower it, or data.size; `accumulate` keeps the batch of a step"
        return f"{text.splitlines()[0]} ({remedy})"
    if found := re.search(r"(?:gloo|NCCL).*?(connection (?:reset|closed) by peer|remote process exited)", text, re.IGNORECASE | re.DOTALL):
        return f"another process of the run has ended, perhaps killed for its memory: {found[1]} (the same command goes on)"
    if text.startswith("DataLoader worker"):
        remedy = "its error is in log.txt; if /dev/shm is full, enlarge it, as by docker run --shm-size=8g, or give --data.num_workers 0"
        return f"{text.splitlines()[0]} ({remedy})"
    return text.splitlines()[0] if text else "no message"


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Append everything that this process and its children print to a file."""
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
