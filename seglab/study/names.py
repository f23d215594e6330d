"""Names by which classes and functions are recorded, and which of them are the user's own."""

import functools
import linecache
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

_SEGLAB = Path(__file__).parents[1]

_PACKAGES = ("site-packages", "dist-packages")


def is_own(thing: Any) -> bool:
    """Return whether a class, function or module is the user's, not of Python, an installed package or seglab."""
    module = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None)
    if not isinstance(module, str) or module.partition(".")[0] in ("seglab", *sys.builtin_module_names):
        return False
    if getattr(thing, "__qualname__", "").startswith("__create_fn__"):  # what `dataclass` generates
        return False
    file = file_of(thing)
    return module == "__main__" if file is None else not _is_installed(file)


def public_name(thing: Any) -> str:
    """Return the name by which a class or function is recorded.

    - seglab: `seglab.L2`, whichever file of seglab defines it;
    - installed package: the shortest path by which it can be imported, such as `torch.nn.Conv2d`;
    - user: the file's stem and the name in the file, such as `my_losses.MyLoss`. The name is the same in a script and
      an imported module.
    """
    module, name = getattr(thing, "__module__", None) or "builtins", thing.__qualname__
    if module.partition(".")[0] == "seglab":
        return f"seglab.{name}"
    if is_own(thing):
        return f"{stem(file_of(thing))}.{name}"
    return _importable(module, name, thing)


def stem(file: str | None) -> str:
    """Return a file's name without folder and suffix; `__main__` for a notebook cell, which has no file on disk."""
    return Path(file).stem if file is not None and Path(file).exists() else "__main__"


def file_of(thing: Any) -> str | None:
    """Return the file that defines a class, function or module; None without a file, as for code at a Python prompt.

    Python records no file for a class that is defined in a notebook. The file of one of its methods is returned
    instead.
    """
    code = getattr(thing.__func__ if isinstance(thing, MethodType) else thing, "__code__", None)
    if isinstance(code, CodeType):
        return code.co_filename if linecache.getlines(code.co_filename) else None
    module = thing.__name__ if isinstance(thing, ModuleType) else thing.__module__
    found: str | None = getattr(sys.modules.get(module), "__file__", None)
    if found is None and isinstance(thing, type):
        files = {file_of(function) for function in functions_of(thing)} - {None}
        return next(iter(files), None)
    return found


def functions_of(cls: type) -> Iterator[FunctionType]:
    """Yield the functions that a class defines itself: methods, class methods, properties.

    Inherited functions are left out.
    """
    for value in vars(cls).values():
        for function in (value, *(getattr(value, name, None) for name in ("__func__", "fget", "fset", "fdel", "func", "__wrapped__"))):
            if isinstance(function, FunctionType) and function.__module__ == cls.__module__:
                yield function


def is_own_file(file: str) -> bool:
    """Return whether code from a file is the user's own, not part of Python, an installed package or seglab.

    Generated code is not.
    """
    return not file.startswith("<") and not _is_installed(file) and not Path(file).is_relative_to(_SEGLAB)


@functools.cache
def _is_installed(file: str) -> bool:
    """Return whether a file belongs to Python or to an installed package."""
    path = Path(file)
    if file.startswith("<frozen") or any(part in _PACKAGES for part in path.parts):
        return True
    return any(path.is_relative_to(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))


@functools.cache
def _importable(module: str, name: str, thing: Any) -> str:
    parts = module.split(".")
    for place in (".".join(parts[:length]) for length in range(1, len(parts) + 1)):
        found: Any = sys.modules.get(place)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is thing:
            return name if place == "builtins" else f"{place}.{name}"
    return f"{module}.{name}"
