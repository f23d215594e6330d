"""Spare the garbage collector the objects of imports, which stay. No torch.

It would look at the objects of torch and Lightning again and again: a fifth of the time of their imports.
"""

import gc

_USUAL = gc.get_threshold()
_RARELY = 2_000_000
"""Number of new objects until the next collection."""


def collect_rarely() -> None:
    """Put off the next collection of garbage, until `collect_as_usual` or two million new objects."""
    gc.set_threshold(_RARELY, *_USUAL[1:])
    if _after_a_collection not in gc.callbacks:
        gc.callbacks.append(_after_a_collection)


def collect_as_usual() -> None:
    """Collect garbage as often as Python does by default. No collection looks at the objects that are there now."""
    gc.freeze()
    _set_as_usual()


def _after_a_collection(phase: str, info: dict[str, int]) -> None:
    """End the wait of a process that never calls `collect_as_usual`, as a script without a study."""
    if phase == "stop":
        _set_as_usual()


def _set_as_usual() -> None:
    gc.set_threshold(*_USUAL)
    if _after_a_collection in gc.callbacks:
        gc.callbacks.remove(_after_a_collection)
