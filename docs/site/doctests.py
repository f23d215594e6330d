"""Show doctests as code.

A docstring of seglab has its examples at its end; the reader of the site expects them below a heading.
"""

import re
from typing import Any

import griffe


class Doctests(griffe.Extension):
    """Puts each block of lines that begins with `>>>` below the heading `Examples:`."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = "\n\n".join(_headed(block) for block in re.split(r"\n\s*\n", obj.docstring.value))


def _headed(block: str) -> str:
    """Return a block of a docstring, below a heading if it is a doctest."""
    if not block.startswith(">>>"):
        return block
    return "Examples:\n" + "\n".join(f"    {line}" for line in block.splitlines())
