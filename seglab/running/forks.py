"""A fork server: a process that has imported what a worker needs, and forks one worker after another.

`run` imports torch once. Before it computes anything, it forks the server, which waits. To start a worker, the server
forks again. The new process gets the worker's command line, environment, standard streams and session. It then does
what the script's `main` does in a process that was started afresh. Where a fork could differ from a new process, no
worker is forked (see `ForkServer.started`), and the caller starts one.
"""

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from seglab.exit_codes import FAILED
from seglab.interruption import SIGNALS
from seglab.running.threads import SHARED, VARIABLE, read_at_import

PROBE_SECONDS = 10.0
"""Time within which a forked process must have computed a gradient; else no worker is forked."""

_MESSAGE = struct.Struct("iii")
"""Kind, process id and exit code."""
_STARTED, _ENDED = 0, 1


class ForkServer:
    """The server, as the process sees it that has forked it. It ends with this process."""

    def __init__(self, server: socket.socket, start: Sequence[str]) -> None:
        self._server = server
        self._start = ["python", *start]
        self._ended: dict[int, int] = {}
        self.lost = False
        """True if the server has ended."""

    @classmethod
    def started(cls, start: Sequence[str], become: Callable[[], int]) -> "ForkServer | None":
        """Fork a server, before this process computes anything. Return None where this is not possible.

        The server forks no worker if the process has threads, open GPUs or temporary folders, or if a forked process
        cannot compute.

        Args:
            start: words after `python` that start this script.
            become: does what `sys.argv` says, and returns the exit code. It is called in each worker.
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
                _wait_for_work(its, mask)
                sys.exit(become())  # in a worker
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
        work = json.dumps({"words": words[len(self._start) :], "environment": dict(environment), "directory": str(Path.cwd())})
        its_end, lifeline = os.pipe()
        try:
            with _all_blocked(), tempfile.TemporaryFile() as file:
                file.write(work.encode())
                file.flush()
                socket.send_fds(self._server, [b"start"], [file.fileno(), its_end, log])
                pid = self._next_started()
        except OSError:
            self.lost, pid = True, None
        finally:
            os.close(its_end)
        if pid is None:
            os.close(lifeline)
            return None
        return ForkedWorker(pid, self, lifeline)

    def _next_started(self) -> int | None:
        """Wait for the id of the process that was asked for. Return None if there is none."""
        while (message := self._server.recv(_MESSAGE.size)) != b"":
            kind, pid, code = _MESSAGE.unpack(message)
            if kind == _STARTED:
                return None if pid < 0 else pid
            self._ended[pid] = code
        self.lost = True
        return None

    def ended(self, pid: int) -> int | None:
        """Return the exit code of a worker; None while it runs."""
        with _all_blocked():
            while not self.lost:
                try:
                    message = self._server.recv(_MESSAGE.size, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
                except OSError:  # the server was killed
                    message = b""
                if message == b"":
                    self.lost = True
                else:
                    _, other, code = _MESSAGE.unpack(message)
                    self._ended[other] = code
        if self.lost and pid not in self._ended and not _exists(pid):
            return FAILED
        return self._ended.get(pid)


class ForkedWorker:
    """A worker that the server has forked. It has those methods of `subprocess.Popen` that a launcher calls."""

    def __init__(self, pid: int, server: ForkServer, lifeline: int) -> None:
        self.pid = pid
        self._server = server
        self._lifeline = lifeline
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the worker runs."""
        if self._code is None:
            self._code = self._server.ended(self.pid)
        return self._code

    def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        while (code := self.poll()) is None:
            time.sleep(0.02)
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


Worker = ForkedWorker | subprocess.Popen[bytes]


@dataclass(frozen=True)
class _Work:
    """Request for a worker, as the fork server receives it."""

    words: list[str]
    environment: dict[str, str]
    directory: str


def _wait_for_work(server: socket.socket, mask: set[int]) -> None:
    """Fork a process for each request. Return in the new process alone; the server ends here."""
    try:
        os.setsid()  # signals of the terminal reach the workers through `run` alone
        with Path(os.devnull).open("r+b") as nothing:
            for number in (0, 1, 2):
                os.dup2(nothing.fileno(), number)
        if not _is_fit_for_forks():
            os._exit(0)
        gc.freeze()  # the collector would copy the pages that all workers share
        _serve(server, mask)
    except BaseException:  # noqa: BLE001 - whatever it is: the caller then starts its workers itself
        os._exit(1)


def _serve(server: socket.socket, mask: set[int]) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ, None)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    selector.unregister(key.fileobj)
                    os.close(key.fd)
                    _, status = os.waitpid(key.data, 0)
                    _tell(server, _ENDED, key.data, os.waitstatus_to_exitcode(status))
                    continue
                message, descriptors, *_ = socket.recv_fds(server, 16, 3)
                if not message:
                    os._exit(0)  # `run` has ended
                pid = _forked()
                if pid == 0:
                    server.close()
                    for other in [other.fd for other in selector.get_map().values() if other.data is not None]:
                        os.close(other)
                    _become_worker(descriptors, mask)
                    return
                for descriptor in descriptors:
                    os.close(descriptor)
                if pid > 0:
                    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
                _tell(server, _STARTED, pid, 0)


def _forked() -> int:
    """Fork this process. Return -1 if the system has no room for another process."""
    try:
        return os.fork()
    except OSError:
        return -1


def _tell(server: socket.socket, kind: int, pid: int, code: int) -> None:
    with contextlib.suppress(OSError):  # `run` has ended, which the next message will say
        server.send(_MESSAGE.pack(kind, pid, code))


def _become_worker(descriptors: Sequence[int], mask: set[int]) -> None:
    """Make this process look as if started with the command that the first file of `descriptors` describes."""
    os.setsid()
    request, lifeline, log = descriptors
    for source, target in ((lifeline, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    with open(request, encoding="utf-8") as file:  # noqa: PTH123 - by number
        file.seek(0)
        work = _Work(**json.load(file))
    os.close(lifeline)
    os.close(log)
    os.chdir(work.directory)
    os.environ.clear()
    os.environ.update(work.environment)
    sys.argv[1:] = work.words
    signal.pthread_sigmask(signal.SIG_SETMASK, {*mask, *SIGNALS})  # until `Interruption.listen`, as for a process that is started


def _is_fit_for_forks() -> bool:
    """Return whether this process can be forked into workers.

    A temporary folder would be deleted when the first worker ends. wandb makes some when it is imported, and workers
    that share its import would give their artifacts the same random names. A GPU cannot be used in a fork of the
    process that has opened it.
    """
    if any(isinstance(thing, tempfile.TemporaryDirectory) for thing in gc.get_objects()) or _holds_gpu():
        return False
    pid = os.fork()
    if pid == 0:
        number = torch.ones(1 << 18, requires_grad=True)
        torch.autograd.grad((number * number).sum(), number)
        os._exit(0)
    pidfd = os.pidfd_open(pid)
    with selectors.DefaultSelector() as selector:
        selector.register(pidfd, selectors.EVENT_READ)
        ended = bool(selector.select(PROBE_SECONDS))
    os.close(pidfd)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _holds_gpu() -> bool:
    """Return whether this process has opened a GPU."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()).startswith(("/dev/nvidia", "/dev/kfd")):
                return True
    return False


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
