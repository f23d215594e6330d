"""Launchers start workers.

They take commands as lists of words, so that each command can also be pasted into a shell.
"""

import contextlib
import fcntl
import itertools
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NamedTuple, Protocol

from seglab.cluster.command import words_here
from seglab.interruption import ECHO_SECONDS, LIFELINE, signals_blocked
from seglab.running.forks import POLL_SECONDS, ForkServer, Worker
from seglab.running.threads import worker_environment


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    """Its exit code, negative for a signal."""
    log: Path
    """The file with its output."""


class Launcher(Protocol):
    """Runs commands somewhere."""

    def launch(self, commands: Sequence[Sequence[str]], logs: Path, watch: Callable[[], None]) -> list[Ended]:
        """Start each command, with its output in a file of folder `logs`; return when all have ended.

        While commands run, `watch` is called repeatedly. On a KeyboardInterrupt, ask the processes to stop and wait for
        them.
        """


@dataclass(frozen=True)
class Local:
    """Launcher on this machine: each command is a process with its own GPUs, if any, and an equal share of CPU threads.

    A process is forked by `server`, or started afresh.
    """

    gpus: int = 0
    """GPUs that all processes share."""
    devices: int = 1
    """GPUs of one run."""
    server: ForkServer | None = None

    def launch(self, commands: Sequence[Sequence[str]], logs: Path, watch: Callable[[], None]) -> list[Ended]:
        logs.mkdir(parents=True, exist_ok=True)
        if self.server is not None:
            self.server.wait()  # for workers of an earlier launch
        processes: list[Worker] = []
        paths: list[Path] = []
        with _interrupted_by_signals(), contextlib.ExitStack() as lifelines:
            try:
                for slot, command in enumerate(commands):
                    with _log(logs, slot) as file:
                        process = self._start(list(command), file, slot, len(commands))
                    lifelines.enter_context(process)
                    processes.append(process)
                    paths.append(Path(file.name))
                while None in [process.poll() for process in processes]:  # reaps each dead one, so that another takes over its run
                    began = time.monotonic()
                    watch()
                    _wait(processes, max(0.2, 10 * (time.monotonic() - began)))  # for ten thousand runs, `watch` takes a while
                watch()
            except BaseException:  # a signal, or an error of `watch`, such as a terminal that is gone
                _stop(processes)
                raise
        return [Ended(process.wait(), log) for process, log in zip(processes, paths, strict=True)]

    def _start(self, command: list[str], log: BinaryIO, slot: int, slots: int) -> Worker:
        environment = {**worker_environment(slots), LIFELINE: "1"}
        if self.gpus and "CUDA_VISIBLE_DEVICES" not in os.environ:
            mine = [(slot * self.devices + position) % self.gpus for position in range(self.devices)]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, mine))
        with signals_blocked():  # a new session, so that Ctrl-C reaches a worker once: from this process
            forked = None if self.server is None else self.server.start(command, environment, log.fileno())
            if forked is not None:
                return forked
            return subprocess.Popen(
                words_here(command),
                stdin=subprocess.PIPE,  # the lifeline
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )


def _log(logs: Path, slot: int) -> BinaryIO:
    """Open `worker-<slot>.log`, empty, or that of the next number whose worker has ended.

    Several `run` may work in a folder at the same time. A worker holds the lock of its log until it ends. On a file
    system without locks, the logs of slots of one number are in one file.
    """
    for number in itertools.count(slot):
        file = (logs / f"worker-{number}.log").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        except OSError:
            pass
        file.truncate(0)
        return file
    raise AssertionError


def _wait(processes: Sequence[Worker], seconds: float) -> None:
    """Wait for some time, or until all processes have done their work."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and None in [process.poll() for process in processes]:
        time.sleep(POLL_SECONDS)


def _stop(processes: Sequence[Worker]) -> None:
    """Ask processes to stop. Kill each process that still runs after a minute. A second Ctrl-C kills all at once."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + 60
    try:
        while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextlib.contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise a KeyboardInterrupt, as Ctrl-C does.

    A signal that this process ignores, as SIGHUP under nohup, stays ignored. When a terminal is closed, SIGHUP comes
    both from the shell and from the system: a second signal within `ECHO_SECONDS` counts as a copy of the first.
    """
    last = -math.inf

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if last - before >= ECHO_SECONDS:
            raise KeyboardInterrupt

    heard = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in heard.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
