"""The words that a flag of shifts takes beside classes: names of corruptions, such as `noise-3,jpeg`."""

import json
from dataclasses import asdict
from typing import Any

from seglab.script.flag_types import mapped_class
from seglab.study.names import public_name


def takes_shifts(kind: Any) -> bool:
    """Return whether a flag of this type takes shifts by name."""
    found = mapped_class(kind)
    return found is not None and public_name(found) == "seglab.Shift"


def shifts_named(text: str) -> str:
    """Return the value that a parser takes for corruptions as a user types them.

    A JSON object and null stay as they are.

    >>> shifts_named("noise-3")
    '{"noise-3": {"class_path": "seglab.GaussianNoise", "init_args": {"severity": 3}}}'

    Raises:
        ValueError: a name is unknown.
    """
    if text.strip().startswith("{") or text == "null":
        return text
    from seglab.data.shifts import corruptions  # imports torch

    names = text.strip().removeprefix("[").removesuffix("]").split(",")
    found = corruptions([name.strip().strip("'\"") for name in names if name.strip()])
    return json.dumps({name: {"class_path": public_name(type(shift)), "init_args": asdict(shift)} for name, shift in found.items()})
