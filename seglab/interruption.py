"""React to signals that ask this process to stop: from `run` on Ctrl-C, a scheduler or `kill`.

This file does not import torch, whose import takes seconds in which a signal may arrive.
"""

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that ask to stop: the signal of `kill`, and signals that schedulers send some time before they end a job."""

ECHO_SECONDS = 1.0
"""Seconds within which a second signal counts as a copy of the first. A scheduler may send one signal directly and one
through the parent.
"""


LIFELINE = "SEGLAB_LIFELINE"
"""Environment variable of a process whose standard input is a pipe that stays open as long as its parent lives."""


class Interrupted(BaseException):
    """Raised if this process was asked to stop. A stop is no error of the run, so this class is no `Exception`."""


class Interruption:
    """Stops this process when a signal asks for it: at once or, in a training, between two steps."""

    def __init__(self, signals: Sequence[signal.Signals] = SIGNALS) -> None:
        self.signals = signals
        self.asked = False
        self._when = -math.inf
        self._listening = False
        self.deferred = False
        """True if the first signal only sets `asked`, which the training reads between two steps. A second signal
        always stops at once.
        """

    def listen(self) -> None:
        """Set the signal handlers, and receive signals that have arrived since `signals_blocked` began.

        Ctrl-C is ignored unless it is one of `signals`: the process that started this one receives it too, and sends
        SIGTERM.
        """
        self._listening = True
        self.listen_again()
        if signal.SIGINT not in self.signals:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def stop_with_parent(self) -> None:
        """Ask this process to stop, as SIGTERM does, when its parent has died.

        Do nothing if the parent gave it no lifeline.

        A parent that is killed by SIGKILL, as by the system when memory runs out, can send no signal.
        """
        if os.environ.pop(LIFELINE, None) is not None:
            pipe = os.dup(0)
            with Path(os.devnull).open() as nothing:  # code that reads the standard input finds it empty, and does not wait for the parent
                os.dup2(nothing.fileno(), 0)
            at_the_end_of(pipe, self._stop)

    def _stop(self) -> None:
        if not self.asked:  # a second signal would stop at once, without a checkpoint
            os.kill(os.getpid(), signal.SIGTERM)

    def listen_again(self) -> None:
        """Set the signal handlers again, if `listen` has set them.

        Lightning replaces the handler of SIGTERM when a training or evaluation starts.
        """
        if self._listening:
            for number in self.signals:
                signal.signal(number, self._receive)

    def stop_deferring(self) -> None:
        """Let any later signal stop this process at once.

        Raise `Interrupted` now if a signal has already asked to stop.
        """
        self.deferred = False
        if self.asked:
            raise Interrupted

    def _receive(self, number: int, frame: FrameType | None) -> None:
        before, self._when = self._when, time.monotonic()
        if number != signal.SIGINT and self._when - before < ECHO_SECONDS:
            return
        at_once = self.asked or not self.deferred
        self.asked = True
        if at_once:
            raise Interrupted


@contextlib.contextmanager
def listening() -> Iterator[Interruption]:
    """Handle the signals that reach a command of the user, Ctrl-C and a closed terminal included.

    Restore the handlers at the end.

    A signal that this process was started to ignore, as under `nohup` and behind `&` in a script, stays ignored.
    """
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGINT, signal.SIGHUP)}
    interruption = Interruption([number for number, handler in before.items() if handler is not signal.SIG_IGN])
    try:
        interruption.listen()
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block signals for processes that are started in this context, until they call `listen`.

    Otherwise a signal kills such a process while it imports.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def at_the_end_of(pipe: int, act: Callable[[], None]) -> None:
    """Call `act` in a thread when the other end of `pipe` is closed, which happens when its process ends in any way."""

    def wait() -> None:
        os.read(pipe, 1)  # nobody ever writes
        act()

    threading.Thread(target=wait, daemon=True).start()


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that a command cleans up before it ends."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
