"""Spare the garbage collector the objects of imports, which stay. No torch.

It would look at the objects of torch and Lightning again and again: a fifth of the time of their imports.
"""

import gc

_USUAL = gc.get_threshold()
_RARELY = 1_000_000
"""Number of new objects from one collection to the next."""


def collect_rarely() -> None:
    """Collect garbage rarely, until `collect_as_usual`."""
    gc.set_threshold(_RARELY, *_USUAL[1:])


def collect_as_usual() -> None:
    """Collect garbage as often as Python does by default. No collection looks at the objects that are there now."""
    gc.freeze()
    gc.set_threshold(*_USUAL)
