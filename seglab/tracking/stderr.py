"""Show what seglab logs on the screen."""

import contextlib
import logging
from collections.abc import Iterator


def show_log() -> None:
    """Print seglab's log to stderr from now on, for example the weights that a penalty acts on."""
    log = logging.getLogger("seglab")
    log.setLevel(logging.INFO)
    if not log.handlers:
        log.addHandler(logging.StreamHandler())


@contextlib.contextmanager
def shown_log() -> Iterator[None]:
    """Print seglab's log to stderr within this context, and restore the logger's level and handlers afterwards."""
    log = logging.getLogger("seglab")
    level, handlers = log.level, list(log.handlers)
    show_log()
    try:
        yield
    finally:
        log.setLevel(level)
        log.handlers[:] = handlers
