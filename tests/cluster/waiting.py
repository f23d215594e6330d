"""Waiting for daemons and jobs."""

import socket
import time
from collections.abc import Callable


def wait(what: str, done: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until `done()`; raise a TimeoutError that names `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)


def free_ports(number: int) -> list[int]:
    """Return ports of this machine that no process listens on."""
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
