"""The process that forks workers, on the side of the server: `run` sees it through `seglab.running.forks`."""

import atexit
import contextlib
import gc
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from seglab.interruption import SIGNALS
from seglab.processors import available_cpus
from seglab.running.profile import forget_time_before

PROBE_SECONDS = 10.0
"""Time within which a forked process must have computed a gradient; else no worker is forked."""

DESCRIPTORS = 4
"""File descriptors of a request: the work, the lifeline, the log, and where the worker writes its exit code."""

MESSAGE = struct.Struct("iii")
"""Kind, process id and exit code."""
STARTED, ENDED = 0, 1

ANY, NEW = b"any", b"new"
"""Requests: for any worker, and for one that has imported nothing ahead."""

CODE = struct.Struct("i")


@dataclass(frozen=True)
class Work:
    """Request for a worker, as JSON in a file."""

    words: list[str]
    environment: dict[str, str]
    directory: str


def serve(requests: socket.socket, mask: set[int], prepare: Callable[[], None]) -> int:
    """Fork a process for each request. Return in the new process alone; the server ends here.

    The first process is forked ahead, and calls `prepare`, if another processor is there to do so meanwhile.

    Args:
        requests: the socket of `run`.
        mask: signals that a process blocks which is started afresh.
        prepare: imports what most workers need.

    Returns:
        The file descriptor to which the new process writes its exit code.
    """
    try:
        os.setsid()  # signals of the terminal reach the workers through `run` alone
        with Path(os.devnull).open("r+b") as nothing:
            for number in (0, 1, 2):
                os.dup2(nothing.fileno(), number)
        if not _is_fit_for_forks():
            os._exit(0)
        gc.freeze()  # the collector would copy the pages that all workers share
        descriptors = _Server(requests).serve(prepare if available_cpus() > 1 else None)
        if descriptors:
            return _become_worker(descriptors, mask)
    except BaseException:  # noqa: BLE001 - whatever it is: the caller then starts its workers itself
        os._exit(1)
    sys.exit(0)  # deletes the temporary folders of wandb


class _Server:
    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._ahead: tuple[int, socket.socket] | None = None
        """Id and socket of the worker that was forked ahead."""

    def serve(self, prepare: Callable[[], None] | None) -> list[int]:
        """Fork a process for each request, and tell `run` of its end.

        Return in the new process: the file descriptors of the request, or none in a process that was forked ahead and
        is not needed.
        """
        self._selector.register(self._requests, selectors.EVENT_READ, None)
        if prepare is not None:
            mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pid = self._fork()
            if pid == 0:
                mine.close()
                with contextlib.suppress(Exception):  # a worker that needs the import fails by it, and says why
                    prepare()
                return _descriptors(its)[1]
            its.close()
            if pid > 0:
                self._ahead = pid, mine
        while True:
            for key, _ in self._selector.select():
                if key.data is not None:
                    self._selector.unregister(key.fileobj)
                    os.close(key.fd)
                    _, status = os.waitpid(key.data, 0)
                    self._tell(ENDED, key.data, os.waitstatus_to_exitcode(status))
                    continue
                request, descriptors = _descriptors(self._requests)
                if not request:
                    os._exit(0)  # `run` has ended
                found = self._given_to_the_one_ahead(descriptors) if request == ANY else None
                pid = self._fork() if found is None else found
                if pid == 0:
                    return descriptors
                for descriptor in descriptors:
                    os.close(descriptor)
                self._tell(STARTED, pid, 0)

    def _fork(self) -> int:
        """Fork this process, without the server's files.

        Return the id of the new process, 0 in the new process, and -1 if the system has no room for another process.
        """
        try:
            pid = os.fork()
        except OSError:
            return -1
        if pid > 0:
            self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
        if pid == 0:
            atexit.unregister(shutil.rmtree)  # this process has made none of the folders, such as matplotlib's without a HOME
            self._requests.close()
            for other in [other.fd for other in self._selector.get_map().values() if other.data is not None]:
                os.close(other)
            self._selector.close()
            if self._ahead is not None:
                self._ahead[1].close()
        return pid

    def _given_to_the_one_ahead(self, descriptors: Sequence[int]) -> int | None:
        """Give a request to the worker that was forked ahead. Return its id; None if there is none."""
        if self._ahead is None:
            return None
        (pid, its), self._ahead = self._ahead, None
        with its:
            try:
                socket.send_fds(its, [ANY], descriptors)
            except OSError:  # it was killed
                return None
        return pid

    def _tell(self, kind: int, pid: int, code: int) -> None:
        with contextlib.suppress(OSError):  # `run` has ended, which the next message will say
            self._requests.send(MESSAGE.pack(kind, pid, code))


def _descriptors(requests: socket.socket) -> tuple[bytes, list[int]]:
    """Wait for a request; return it with its file descriptors, and neither if the other side has ended."""
    request, descriptors, *_ = socket.recv_fds(requests, 16, DESCRIPTORS)
    return request, descriptors


def _become_worker(descriptors: Sequence[int], mask: set[int]) -> int:
    """Make this process look as if started with the command that the first file of `descriptors` describes.

    Return the descriptor to which it writes its exit code.
    """
    os.setsid()
    request, lifeline, log, end = descriptors
    for source, target in ((lifeline, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    with open(request, encoding="utf-8") as file:  # noqa: PTH123 - by number
        file.seek(0)
        work = Work(**json.load(file))
    os.close(lifeline)
    os.close(log)
    os.chdir(work.directory)
    os.environ.clear()
    os.environ.update(work.environment)
    sys.argv[1:] = work.words
    forget_time_before()
    signal.pthread_sigmask(signal.SIG_SETMASK, {*mask, *SIGNALS})  # until `Interruption.listen`, as for a process that is started
    return end


def _is_fit_for_forks() -> bool:
    """Return whether this process can be forked into workers.

    A temporary folder would be deleted when the first worker ends. wandb makes some when it is imported, and workers
    that share its import would give their artifacts the same random names. A GPU cannot be used in a fork of the
    process that has opened it.
    """
    gc.unfreeze()  # else the list lacks what was there before `main`
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
