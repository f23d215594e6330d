"""Convert a dataclass whose fields are flags to the words of a command line."""

import dataclasses
import json
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def changed_flags(settings: "DataclassInstance", names: Collection[str]) -> list[str]:
    """Return `--name value` for each field in `names` whose value is not its default, in the order of the fields.

    A dataclass becomes its import path, then `--name.field value` for each field.
    """
    changed = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.name in names and getattr(settings, field.name) != field.default
    }
    return [word for name, value in changed.items() for word in _words(name, value)]


def _words(name: str, value: object) -> list[str]:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return [f"--{name}", _word(value)]
    cls = type(value)
    fields = changed_flags(value, {field.name for field in dataclasses.fields(value)})
    return [f"--{name}", f"{cls.__module__}.{cls.__qualname__}", *(re.sub("^--", f"--{name}.", word) for word in fields)]


def _word(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool | Mapping) else str(value)
