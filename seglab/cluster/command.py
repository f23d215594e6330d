"""Commands as lists of words, so that whatever is started can be pasted into a shell. No torch."""

import sys
from collections.abc import Sequence


def words_here(command: Sequence[str]) -> list[str]:
    """A command for this machine: its `python` is the one that runs this."""
    return [sys.executable if command[0] == "python" else command[0], *command[1:]]
