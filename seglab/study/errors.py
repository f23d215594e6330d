"""From a library's many lines to the one that helps. No torch."""

import re
from argparse import ArgumentError

_KEY = re.compile(r'Parser key "([^"]+)":?\s*')


def one_line(error: BaseException) -> str:
    """What was wrong, in one line: the flag by its name, then the reason."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = re.sub(r"<class '([\w.]+)'>", r"\1", str(error))
    keys = _KEY.findall(text)
    reason = " ".join(part.strip() for part in _KEY.sub("", text).splitlines() if part.strip())
    if isinstance(error, ArgumentError) and "unrecognized arguments" in reason:
        reason += "; --help lists what there is"
    return f"--{'.'.join(keys)}: {reason}" if keys else reason or type(error).__name__
