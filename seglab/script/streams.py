"""Make the standard streams of a command usable, whatever the shell, a service manager or `cron` has made of them.

No torch.
"""

import io
import os
import select
import sys
from pathlib import Path


def prepare_streams() -> None:
    """Open the standard streams that the parent has closed, and let the output replace what its encoding lacks.

    A closed stream is None in Python, and its number goes to the next file that is opened, into which C code then
    prints. Without UTF-8, a `±` in the table of a comparison would be an error.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # in this order: the lowest free number is that of the stream
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def is_read() -> bool:
    """Return whether the standard output still has a reader.

    If it has none, as behind `| head`, discard what is printed from now on.
    """
    number, poll = sys.stdout.fileno(), select.poll()
    poll.register(number, 0)  # errors are reported always
    if not poll.poll(0):
        return True
    with Path(os.devnull).open("w", encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), number)
    return False
