"""The types of flags: what a parser keeps of the annotation of a parameter. No torch."""

import types
from argparse import Action
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, Literal, Union, get_args, get_origin

NUMBERS = (int, float, bool)


def type_of(action: Action) -> Any:
    """Return the type of a flag; None if the flag has none, such as a switch.

    jsonargparse keeps the type in `_typehint`.
    """
    return getattr(action, "_typehint", action.type)


def members(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the type itself, without None.

    >>> members(int | None), members(str)
    ((<class 'int'>,), (<class 'str'>,))
    """
    every = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return tuple(member for member in every if member is not types.NoneType)


def is_optional(kind: Any) -> bool:
    """Return whether a type accepts None.

    >>> is_optional(int | None), is_optional(int)
    (True, False)
    """
    return types.NoneType in get_args(kind)


def class_of(kind: Any) -> type | None:
    """Return the class that a flag names a subclass of, or whose instances its function returns; None for plain values.

    >>> from collections import Counter
    >>> class_of(Counter | None), class_of(Callable[[], Counter]), class_of(int)
    (<class 'collections.Counter'>, <class 'collections.Counter'>, None)
    """
    for member in members(kind):
        found = get_args(member)[-1] if get_origin(member) is Callable and get_args(member) else member
        if (
            isinstance(found, type)
            and found is not Any
            and get_origin(found) is None
            and found.__module__ != "builtins"
            and not issubclass(found, PurePath | Enum)
        ):
            return found
    return None


def arguments_given(kind: Any) -> int:
    """Return the least number of arguments that a caller gives to a function of this type; 0 if it is no function.

    >>> arguments_given(Callable[[int, str], list] | Callable[[int], list]), arguments_given(int)
    (1, 0)
    """
    lists = [get_args(member)[0] for member in members(kind) if get_origin(member) is Callable and get_args(member)]
    return min((len(given) for given in lists if isinstance(given, list)), default=0)


def is_factory(kind: Any) -> bool:
    """Return whether a type is a function without arguments.

    >>> is_factory(Callable[[], list] | None), is_factory(Callable[[int], list])
    (True, False)
    """
    return any(get_origin(member) is Callable and get_args(member)[:1] == ([],) for member in members(kind))


def items_of(kind: Any) -> tuple[Any, ...] | None:
    """Return the types of a list's items or a tuple's places; None if it is no list, or accepts a single value too.

    >>> from collections.abc import Sequence
    >>> items_of(Sequence[str]), items_of(tuple[int, int] | None), items_of(list[int] | int)
    ((<class 'str'>,), (<class 'int'>, <class 'int'>), None)
    """
    found = members(kind)
    origin = get_origin(found[0]) if len(found) == 1 else None
    if isinstance(origin, type) and issubclass(origin, Collection) and not issubclass(origin, dict) and origin.__name__ != "Mapping":
        return tuple(item for item in get_args(found[0]) if item is not Ellipsis)
    return None


def words_of(kind: Any) -> tuple[Any, ...]:
    """Return the words that a type accepts beside its other values.

    >>> words_of(tuple[int, int] | Literal["training"] | None), words_of(int)
    (('training',), ())
    """
    return tuple(word for member in members(kind) if get_origin(member) is Literal for word in get_args(member))


def listed(kind: Any) -> Any:
    """Return the list or tuple of a union of it and words; any other type as it is.

    >>> listed(tuple[int, int] | Literal["training"] | None)
    tuple[int, int]
    """
    others = [member for member in members(kind) if get_origin(member) is not Literal]
    return others[0] if words_of(kind) and len(others) == 1 and items_of(others[0]) is not None else kind


def mapped_class(kind: Any) -> type | None:
    """Return the class of the values of a mapping from names to objects; None for any other type.

    >>> from collections.abc import Mapping
    >>> from collections import Counter
    >>> mapped_class(Mapping[str, Counter] | None), mapped_class(Mapping[str, int]), mapped_class(int)
    (<class 'collections.Counter'>, None, None)
    """
    for member in members(kind):
        origin = get_origin(member)
        if isinstance(origin, type) and issubclass(origin, Mapping) and len(get_args(member)) == 2:
            return class_of(get_args(member)[1])
    return None


def metavar(kind: Any) -> str:
    """Return the word that stands for a value of a type in a help text.

    >>> from collections.abc import Sequence
    >>> metavar(int | None), metavar(Sequence[str]), metavar(Literal["a", "b"])
    ('INT', 'LIST', '{a,b}')
    """
    found = members(kind)
    if class_of(kind) is not None:
        return "CLASS"
    if items_of(kind) is not None:
        return "LIST"
    if mapped_class(kind) is not None:
        return "NAMES"
    if len(found) == 1 and get_origin(found[0]) is Literal:
        return "{" + ",".join(map(str, get_args(found[0]))) + "}"
    if len(found) == 1 and isinstance(found[0], type) and issubclass(found[0], Enum):
        return "{" + ",".join(found[0].__members__) + "}"
    if found == (bool,):
        return "{true,false}"
    return {int: "INT", float: "FLOAT", str: "TEXT"}.get(found[0], "VALUE") if len(found) == 1 else "VALUE"
