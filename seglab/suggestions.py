"""A hint at the name that was probably meant."""

import difflib
from collections.abc import Iterable

CLOSE = 0.65
"""Smallest similarity of two names, by difflib's ratio, at which one is suggested for the other."""


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return a hint at the closest known name, or at two that are equally close; an empty text if no name is close.

    Args:
        name: the name that was given.
        known: the names that exist.
        prefix: beginning of names that does not count, such as `--`.

    >>> did_you_mean("epoch", ["--epochs", "--seeds"]), did_you_mean("size", ["l1", "l2"])
    (' (did you mean --epochs?)', '')
    """

    def similarity(one: str) -> float:
        return difflib.SequenceMatcher(None, one.removeprefix(prefix).casefold(), name.removeprefix(prefix).casefold()).ratio()

    similarities = {one: similarity(one) for one in known}
    best = max(similarities.values(), default=0.0)
    close = [one for one, found in similarities.items() if found == best] if best >= CLOSE else []
    return f" (did you mean {' or '.join(close[:2])}?)" if close else ""
