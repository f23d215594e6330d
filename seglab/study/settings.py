"""Settings: the values of an object that determine a run's numbers, as plain data.

| object | its settings |
|---|---|
| dataclass | its fields, except private fields, fields with `init=False`, and paths (the place of a file is no setting) |
| class of the user | attributes that its code assigns, arguments of `__init__` that are kept under their name, and its source |
| class of an installed package or seglab | arguments of `__init__` kept under their name; `None` and `False` mean "off" and do not count |
| `nn.Module` | in addition: shapes of its parameters, whether they train, values of its buffers, its children and forward hooks |
| function, class | its public name; for the user's own also its source and the variables of its closure |
| tensor, array | its values, or a hash of many values |

Two things are never settings: private attributes of a library's objects, and the file in which seglab or a library
defines a class. Therefore neither an update of a library nor a moved file changes the settings.
"""

import dataclasses
import dis
import functools
import hashlib
import inspect
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from seglab.study.code import Sources, captured
from seglab.study.names import file_of, functions_of, is_own, public_name

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_EMPTY_MODULE = frozenset(vars(nn.Module()))
_OFF = (None, False)


class Settings:
    """Turns objects into plain data, equal in every process, and collects the user's code that they depend on."""

    def __init__(self) -> None:
        self._sources = Sources()
        self._open: set[int] = set()
        """Ids of the objects whose description has begun and not ended. With them, the description of an object that
        contains itself ends.
        """

    @property
    def code(self) -> dict[str, str]:
        """Hash of the source of each of the user's definitions met so far, by public name."""
        return self._sources.hashes()

    def plain(self, value: Any, depth: int = 0) -> Any:
        """Return a value as JSON types: without memory addresses, functions by name, large tensors by hash.

        Raises:
            ValueError: the value is nested more than 30 deep.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if is_own(type(value)):
            self.named(type(value))
        if isinstance(value, Enum) and not isinstance(value, str | int):
            return {"class": self.named(type(value)), "name": value.name}
        if value is None or isinstance(value, str | bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if id(value) in self._open:
            return {"again": public_name(type(value))}
        self._open.add(id(value))
        try:
            return self._opened(value, depth)
        finally:
            self._open.remove(id(value))

    def _opened(self, value: Any, depth: int) -> Any:
        if depth > 30:
            raise ValueError(f"a setting is nested more than 30 deep, at {public_name(type(value))}: does something hold itself?")
        into = functools.partial(self.plain, depth=depth + 1)
        if isinstance(value, Mapping):
            return {self._key(key): into(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [into(item) for item in value]
        if isinstance(value, set | frozenset):
            return sorted(map(self._key, value))
        if isinstance(value, np.ndarray) and value.dtype.kind not in "biufc":
            return into(value.tolist())
        if isinstance(value, Tensor | np.ndarray):
            array = (value.detach().to_dense() if isinstance(value, Tensor) else torch.as_tensor(value.copy())).cpu()
            return into(array.tolist()) if array.numel() <= 64 else hash_tensor(array)
        if isinstance(value, functools.partial):
            return {"partial": into(value.func), "args": into(value.args), "keywords": into(value.keywords)}
        if isinstance(value, FunctionType | MethodType | type) or hasattr(value, "__qualname__"):
            return self._definition(value, depth)
        return self._object(value, depth)

    def named(self, thing: Any) -> str:
        """Return the public name of a class or function, and count its source if it is the user's own."""
        return self._sources.named(thing)

    def own(self, value: Optimizer | LRScheduler) -> dict[str, Any]:
        """Return the settings that the user's own classes add to an optimizer or a scheduler of torch."""
        cls: type = type(value)
        added = _assigned_by_the_user(cls) & vars(value).keys() - {"param_groups", "state", "optimizer"}
        return {name: self.plain(getattr(value, name)) for name in sorted(added)}

    def _key(self, value: Any) -> str:
        """Return a mapping's key or a set's member as text, by its `str`.

        A class, or an object whose `str` has an address, is returned by its settings.
        """
        text = str(value)
        return json.dumps(self.plain(value), sort_keys=True) if isinstance(value, type) or _ADDRESS.search(text) else text

    def _definition(self, thing: Any, depth: int) -> Any:
        """Return the name of a function or class; for a user's lambda or nested function also closure and defaults.

        For a bound method, return its object too.
        """
        name = self.named(thing)
        if isinstance(thing, MethodType):
            return {"method": name, "of": self.plain(thing.__self__, depth + 1)}
        if not isinstance(thing, FunctionType) or not is_own(thing) or not _is_made(thing):
            return name
        defaults = [self.plain(thing.__defaults__, depth + 1), self.plain(thing.__kwdefaults__, depth + 1)]
        return {"function": name, "with": self.plain(_values_captured(thing), depth + 1), "defaults": defaults}

    def _object(self, value: Any, depth: int) -> Any:
        """Return the class and settings of an object; for a library's object whose `repr` is complete, its `repr`."""
        cls = type(value)
        if (text := _says_itself(value)) is not None:
            return text
        found = {name: getattr(value, name) for name in setting_names(value)}
        if not is_own(cls):
            found = {name: item for name, item in found.items() if not any(item is off for off in _OFF)}
        described = {"class": self.named(cls), **{name: self.plain(item, depth + 1) for name, item in found.items()}}
        own = [base for base in reversed(cls.__mro__) if is_own(base)]
        functions = [function for base in own for function in functions_of(base) if is_own(function) and file_of(function) is not None]
        if captured_values := {name: item for function in functions for name, item in _values_captured(function).items()}:
            described["with"] = self.plain(captured_values, depth + 1)
        return {**described, **self._tensors_and_children(value, depth)} if isinstance(value, nn.Module) else described

    def _tensors_and_children(self, module: nn.Module, depth: int) -> dict[str, Any]:
        shapes = {
            name if parameter.requires_grad else f"{name} (frozen)": list(parameter.shape)
            for name, parameter in module.named_parameters(recurse=False)
        }
        hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
        buffers = {name: self.plain(value) for name, value in module.named_buffers(recurse=False)}
        children = {name: self.plain(child, depth + 1) for name, child in module.named_children()}
        return {**shapes, **buffers, **children, **({"hooks": self.plain(hooks, depth + 1)} if hooks else {})}


def setting_names(value: Any) -> list[str]:
    """Return the names of the attributes that are settings of an object; see the table in this module's docstring."""
    cls: type = type(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init and not field.name.startswith("_")]
        return [name for name in fields if not isinstance(getattr(value, name), Path)]
    there = {name: getattr(value, name) for name in _slots(cls) if hasattr(value, name)} | getattr(value, "__dict__", {})
    wanted: set[str] | frozenset[str] = _arguments(cls) | _assigned_by_the_user(cls)
    wanted |= {name for name, item in there.items() if isinstance(item, FunctionType | MethodType) and is_own(item)}
    if not is_own(cls) and not isinstance(value, nn.Module) and not wanted & there.keys():
        wanted = {name for name in there if not name.startswith("_")}
    if is_own(cls):
        wanted |= {name for name in there if isinstance(inspect.getattr_static(cls, name, None), int | float | str | tuple)}
    children = there.get("_modules", {}).values()
    return [
        name
        for name in there
        if name in wanted
        and name not in _EMPTY_MODULE
        and not any(there[name] is child for child in children)
        and not isinstance(there[name], logging.Logger)
    ]


def _says_itself(value: Any) -> str | None:
    """Return the `repr` of a library's object if it states all settings; None for other objects.

    The `repr` of an albumentations pipeline states all settings.
    """
    if is_own(type(value)) or isinstance(value, nn.Module) or dataclasses.is_dataclass(value):
        return None
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a library's `repr` may fail on what the user has put into its object
        return None
    return None if _ADDRESS.search(text) else text


def _slots(cls: type) -> list[str]:
    """Return the names of the attributes that the user's own classes keep in `__slots__`."""
    found = [vars(base).get("__slots__", ()) for base in cls.__mro__ if is_own(base)]
    return [name for names in found for name in ((names,) if isinstance(names, str) else names) if name != "__dict__"]


def hash_text(text: str) -> str:
    """Return a short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_plain(value: Any) -> str:
    """Return a short hash of plain data, independent of the order of keys."""
    return hash_text(json.dumps(value, sort_keys=True))


def hash_tensor(tensor: Tensor) -> str:
    """Return a short hash of a tensor's type, shape and values."""
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + values.tobytes()).hexdigest()[:16]


@functools.cache
def _arguments(cls: type) -> frozenset[str]:
    """Return the public names of the arguments of `__init__` of a class and its base classes."""
    names: set[str] = set()
    for base in cls.__mro__:
        if isinstance(init := vars(base).get("__init__"), FunctionType):
            names |= set(inspect.signature(init).parameters) - {"self"}
    return frozenset(name for name in names if not name.startswith("_"))


@functools.cache
def _assigned_by_the_user(cls: type) -> frozenset[str]:
    """Return the names of attributes that the user's code assigns, in a class and its base classes."""
    own = [base for base in cls.__mro__ if is_own(base)]
    return frozenset(name for base in own for function in functions_of(base) for name in _stored(function.__code__))


def _stored(code: CodeType) -> Iterator[str]:
    yield from (str(instruction.argval) for instruction in dis.get_instructions(code) if instruction.opname == "STORE_ATTR")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _stored(constant)


def _values_captured(function: FunctionType) -> dict[str, Any]:
    """Return the variables of a function's closure that are settings.

    The user's definitions are left out, because their source counts, and so is `__class__`, which `super()` uses.
    """
    found = {name: value for name, value in captured(function).items() if name != "__class__"}
    return {
        name: value for name, value in found.items() if _is_made(value) or not (isinstance(value, FunctionType | type) and is_own(value))
    }


def _is_made(value: Any) -> bool:
    """Return whether functions of this source may differ: defined in another function, or with a closure.

    Lambdas are included.
    """
    return isinstance(value, FunctionType) and ("<" in value.__qualname__ or value.__closure__ is not None)
