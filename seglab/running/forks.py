"""A fork server: a process that has imported what a worker needs, and forks one worker after another.

`run` imports torch once. Before it computes anything, it forks the server, which waits. To start a worker, the server
forks again. The new process gets the worker's command line, environment, standard streams and session. It then does
what the script's `main` does in a process that was started afresh. Where a fork could differ from a new process, no
worker is forked (see `ForkServer.started`), and the caller starts one.

Two things happen while `run` does something else. One worker is forked at once and imports what most workers need,
while `run` checks the study. And a worker says its exit code when its work is done: the interpreter then takes half a
second to end, while `run` compares the results.
"""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from seglab.exit_codes import FAILED
from seglab.interruption import LIFELINE, SIGNALS
from seglab.processors import SHARE
from seglab.running.fork_server import ANY, CODE, MESSAGE, NEW, STARTED, Work, serve
from seglab.running.threads import SHARED, VARIABLE, read_at_import

POLL_SECONDS = 0.02
"""Time between two looks at a worker that is about to end."""

_OF_LAUNCHER = frozenset({VARIABLE, SHARED, SHARE, LIFELINE, "CUDA_VISIBLE_DEVICES"})
"""Variables that a launcher sets for each worker. No import ahead depends on them."""


class ForkServer:
    """The server, as the process sees it that has forked it. It ends with this process."""

    def __init__(self, server: socket.socket, start: Sequence[str]) -> None:
        self._server = server
        self._start = ["python", *start]
        self._environment = dict(os.environ)
        self._workers: list[ForkedWorker] = []
        self._ended: dict[int, int] = {}
        self.lost = False
        """True if the server has ended."""

    @classmethod
    def started(cls, start: Sequence[str], become: Callable[[], int], prepare: Callable[[], None]) -> "ForkServer | None":
        """Fork a server, before this process computes anything. Return None where this is not possible.

        The server forks no worker if the process has threads, open GPUs or temporary folders, or if a forked process
        cannot compute.

        Args:
            start: words after `python` that start this script.
            become: does what `sys.argv` says, and returns the exit code. It is called in each worker.
            prepare: imports what most workers need. It is called in the worker that is forked at once.
        """
        alone = threading.active_count() == 1
        plain = sys.orig_argv[1:] == [*start, *sys.argv[1:]]  # without options of the interpreter, which a new worker would lack
        if sys.platform != "linux" or not hasattr(os, "pidfd_open") or not alone or not plain or not _as_loaded(os.environ):
            return None
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        with _all_blocked() as mask:
            pid = os.fork()
            if pid == 0:
                mine.close()
                end = serve(its, mask, prepare)
                _end_as(become(), end)  # in a worker
        its.close()
        return cls(mine, start)

    def start(self, command: Sequence[str], environment: Mapping[str, str], log: int) -> "ForkedWorker | None":
        """Fork a worker with this command line and environment, whose output goes to the file descriptor `log`.

        Return None if the server cannot: the environment has other variables that libraries read when they are loaded,
        or the server has ended.
        """
        words = list(command)
        if words[: len(self._start)] != self._start or self.lost or not _as_loaded(environment):
            return None
        changed = {name for name, _ in environment.items() ^ self._environment.items()}
        work = Work(words[len(self._start) :], dict(environment), str(Path.cwd()))
        (its_lifeline, lifeline), (end, its_end) = os.pipe(), os.pipe()
        try:
            with _all_blocked(), tempfile.TemporaryFile() as file:
                file.write(json.dumps(dataclasses.asdict(work)).encode())
                file.flush()
                request = ANY if changed <= _OF_LAUNCHER else NEW
                socket.send_fds(self._server, [request], [file.fileno(), its_lifeline, log, its_end])
                pid = self._next_started()
        except OSError:
            self.lost, pid = True, None
        finally:
            os.close(its_lifeline)
            os.close(its_end)
        if pid is None:
            os.close(lifeline)
            os.close(end)
            return None
        worker = ForkedWorker(pid, self, lifeline, end)
        self._workers.append(worker)
        return worker

    def wait(self) -> None:
        """Wait for the processes whose work is done: until they end, they may hold memory of a GPU."""
        for worker in self._workers:
            while worker.poll() is not None and self.ended(worker.pid) is None:
                time.sleep(POLL_SECONDS)

    def _next_started(self) -> int | None:
        """Wait for the id of the process that was asked for. Return None if there is none."""
        while (message := self._server.recv(MESSAGE.size)) != b"":
            kind, pid, code = MESSAGE.unpack(message)
            if kind == STARTED:
                return None if pid < 0 else pid
            self._ended[pid] = code
        self.lost = True
        return None

    def ended(self, pid: int) -> int | None:
        """Return the exit code of a process; None while it runs."""
        with _all_blocked():
            while not self.lost:
                try:
                    message = self._server.recv(MESSAGE.size, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
                except OSError:  # the server was killed
                    message = b""
                if message == b"":
                    self.lost = True
                else:
                    _, other, code = MESSAGE.unpack(message)
                    self._ended[other] = code
        if self.lost and pid not in self._ended and not _exists(pid):
            return FAILED
        return self._ended.get(pid)


class ForkedWorker:
    """A worker that the server has forked. It has those methods of `subprocess.Popen` that a launcher calls."""

    def __init__(self, pid: int, server: ForkServer, lifeline: int, end: int) -> None:
        self.pid = pid
        self._server = server
        self._lifeline = lifeline
        self._end = open(end, "rb", buffering=0)  # noqa: SIM115 - by number; closed by __exit__
        os.set_blocking(end, False)
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the worker works.

        The process of a worker that has done its work may take a moment to end.
        """
        if self._code is None:
            said = self._end.read(CODE.size)  # nothing: the worker has ended without a word
            self._code = CODE.unpack(said)[0] if said else self._server.ended(self.pid)
        return self._code

    def wait(self) -> int:
        """Wait until the worker has done its work, and return the exit code."""
        while (code := self.poll()) is None:
            time.sleep(POLL_SECONDS)
        return code

    def terminate(self) -> None:
        """Ask the worker to stop."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._lifeline)
        self.wait()
        self._end.close()


Worker = ForkedWorker | subprocess.Popen[bytes]


def _end_as(code: int, end: int) -> NoReturn:
    """End this worker, and say its exit code first."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # nothing is left to stop
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.suppress(OSError):  # `run` was killed
        os.write(end, CODE.pack(code))
    sys.exit(code)


def _as_loaded(environment: Mapping[str, str]) -> bool:
    """Return whether libraries read from `environment` what they have read in this process when it loaded them."""
    lines = Path("/proc/self/environ").read_bytes().split(b"\0")
    loaded = dict(os.fsdecode(line).split("=", 1) for line in lines if b"=" in line)
    if SHARED in os.environ:
        loaded[VARIABLE] = os.environ[SHARED]
    return read_at_import(loaded) == read_at_import(environment)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def _all_blocked() -> Iterator[set[int]]:
    """Block the signals that end a process, or interrupt it between two steps of an exchange. Yield the mask before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*SIGNALS, signal.SIGINT, signal.SIGHUP})
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
