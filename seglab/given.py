"""Checks of the objects and numbers that a user's code gives."""

import math
from typing import Any


def check_kind(what: str, given: object, kind: type) -> None:
    """Check that an argument is an object of a class, and neither the class itself nor a function in its place.

    Args:
        what: the argument, as the user knows it.
        given: its value.
        kind: the class.

    Raises:
        ValueError: it is something else.

    >>> check_kind("the strength", 0.5, float)
    >>> check_kind("the strength", float, float)
    Traceback (most recent call last):
    ValueError: the strength is the class float; give an object of it, float(...)
    """
    if isinstance(given, type):
        raise ValueError(f"{what} is the class {given.__name__}; give an object of it, {given.__name__}(...)")
    if not isinstance(given, kind):
        raise ValueError(f"{what} is a {type(given).__name__}; expected an object of {kind.__module__.partition('.')[0]}'s {kind.__name__}")


def is_factor(value: Any) -> bool:
    """Return whether a function of the progress has given a finite number, 0 or more.

    >>> is_factor(0.5), is_factor(-1.0), is_factor(None)
    (True, False, False)
    """
    try:
        return bool(math.isfinite(value) and value >= 0)
    except (TypeError, ValueError):  # no number at all
        return False
