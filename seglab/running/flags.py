"""Convert a dataclass whose fields are flags to the words of a command line."""

import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def changed_flags(settings: "DataclassInstance", names: Collection[str]) -> list[str]:
    """Return `--name value` for each field in `names` whose value is not its default, in the order of the fields."""
    changed = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.name in names and getattr(settings, field.name) != field.default
    }
    return [word for name, value in changed.items() for word in (f"--{name}", _word(value))]


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
