"""Being asked to stop: by `run` on Ctrl-C, by a scheduler, by `kill`. No torch, whose import takes seconds in which a signal may come."""

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What asks: `kill`, and what clusters send a while before they end a job."""

ECHO_SECONDS = 1.0
"""Within them a second signal is taken for the first one on another way: a scheduler may reach a process directly and through its parent."""


class Interrupted(BaseException):
    """This process was asked to stop; not an error of the run, so no `except Exception` may take it for one."""


class Interruption:
    """What the signals of this process lead to: it stops at once, or, in a training, between two steps."""

    def __init__(self) -> None:
        self.asked = False
        self._when = -math.inf
        self.deferred = False
        """Whether the first signal only sets `asked`, for somebody who looks at it soon; a second one stops at once."""

    def listen(self) -> None:
        """Take over the signals of this process, those too that have come since `held` began.

        Ctrl-C is left to the process that started this one, which passes it on as TERM.
        """
        for number in SIGNALS:
            signal.signal(number, self._receive)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def stop_deferring(self) -> None:
        """From now on stop at once; and now, if that has been asked meanwhile."""
        self.deferred = False
        if self.asked:
            raise Interrupted

    def _receive(self, number: int, frame: FrameType | None) -> None:
        before, self._when = self._when, time.monotonic()
        if self._when - before < ECHO_SECONDS:
            return
        at_once = self.asked or not self.deferred
        self.asked = True
        if at_once:
            raise Interrupted


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Start a process within this: signals to it wait until it listens, as they would kill it while it imports."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
