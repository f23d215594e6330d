"""Checks of the objects and numbers that a user's code gives."""

import math
from collections.abc import Collection
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


def check_whole(what: str, given: object) -> None:
    """Raise a ValueError unless an argument is a whole number, 1 or more.

    >>> check_whole("epochs", 30)
    >>> check_whole("epochs", 2.5)
    Traceback (most recent call last):
    ValueError: epochs 2.5: is a float; expected a whole number, such as 30
    """
    if not isinstance(given, int) or isinstance(given, bool):
        raise ValueError(f"{what} {given!r}: is a {type(given).__name__}; expected a whole number, such as 30")
    if given < 1:
        raise ValueError(f"{what} {given}: must be 1 or more")


def check_whole_seeds(what: str, given: object, how: str) -> None:
    """Raise a ValueError unless an argument holds seeds, which are different whole numbers, 0 or more.

    `how` says how to give a seed at all.

    >>> check_whole_seeds("seeds", range(3), "--seeds must be 1 or more")
    >>> check_whole_seeds("seeds", 10, "--seeds must be 1 or more")
    Traceback (most recent call last):
    ValueError: seeds 10: expected whole numbers in a list or a range, as in range(10)
    """
    seeds = [seed for seed in given if isinstance(seed, int) and not isinstance(seed, bool)] if isinstance(given, Collection) else []
    if not isinstance(given, Collection) or len(seeds) < len(given):
        raise ValueError(f"{what} {given!r}: expected whole numbers in a list or a range, as in range(10)")
    if not seeds:
        raise ValueError(f"there are no {what}: {how}")
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ValueError(f"{what} {seeds}: they must be all different, 0 or more")


def is_factor(value: Any) -> bool:
    """Return whether a function of the progress has given a finite number, 0 or more.

    >>> is_factor(0.5), is_factor(-1.0), is_factor(None)
    (True, False, False)
    """
    try:
        return bool(math.isfinite(value) and value >= 0)
    except (TypeError, ValueError):  # no number at all
        return False
