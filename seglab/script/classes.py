"""Find the class that a user names by an import path, and say in one line why it cannot be found. No torch."""

import importlib
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import seglab
from seglab.script.flag_types import metavar
from seglab.study.names import public_name
from seglab.suggestions import did_you_mean

FORM = "a class is named by its import path, your own from the working directory, as in my_file.MyClass"


def class_named(path: str, base: type) -> Callable[..., Any]:
    """Return the class at an import path, or the function whose annotated return type is such a class.

    A public class of seglab that extends `base` may be named without `seglab.`, and any imported class that does by its
    name alone.

    Raises:
        ValueError: there is no such class, its file cannot be imported, or it does not extend `base`.
    """
    if not all(map(str.isidentifier, path.split("."))):
        raise ValueError(f"{path!r} is no import path{_like(path.rpartition('.')[2], base)}; {FORM}")
    file, _, name = path.rpartition(".")
    if not file:
        found = known_classes(base).get(name, getattr(seglab, name) if name in seglab.__all__ else _alone(name, base))
        if found is None:
            raise ValueError(f"there is no class {name!r}{_like(name, base)}; {FORM}")
        return _checked(path, found, base)
    return _checked(path, class_in(imported(file), name, base), base)


def _alone(name: str, base: type) -> type | None:
    """Return the imported class of this name that extends `base`; None if there is none.

    Raises:
        ValueError: there is more than one; their import paths are named.
    """
    found: list[type] = [base]
    for one in found:
        below: list[type] = one.__subclasses__()
        found += [kind for kind in below if kind not in found]
    named = [kind for kind in found if kind.__name__ == name]
    if len(named) > 1:
        raise ValueError(f"several classes are named {name}; type one of {', '.join(f'{kind.__module__}.{name}' for kind in named)}")
    return named[0] if named else None


def class_in(module: ModuleType, name: str, base: type) -> Any:
    """Return the object of this name in a module; else raise a ValueError that lists the module's classes."""
    if not hasattr(module, name):
        raise ValueError(f"{module.__name__} has no class {name!r}{_like(name, base, module)}")
    return getattr(module, name)


def imported(file: str) -> ModuleType:
    """Import a module by its path; raise a ValueError that says why it cannot be imported."""
    try:
        return importlib.import_module(file)
    except Exception as error:  # whatever a user's file raises
        if isinstance(error, ModuleNotFoundError) and f"{file}.".startswith(f"{error.name}."):
            raise ValueError(f"there is no module {error.name!r}; {FORM}") from None
        raise ValueError(f"{file} cannot be imported: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Return the message of an exception in one line, with the place in the user's file where it was raised.

    The message of a ValueError is written for people and stands alone. Other messages are unclear without the type and
    the place.
    """
    message = " ".join(str(error).split())
    if isinstance(error, ValueError):
        return message
    frames = traceback.extract_tb(error.__traceback__)
    place = "" if isinstance(error, SyntaxError) or not frames else f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
    return f"{type(error).__name__}: {message}{place}"


def described(argument: inspect.Parameter) -> str:
    """Return the word that stands for the value of an argument in a help text."""
    return "VALUE" if argument.annotation is argument.empty or isinstance(argument.annotation, str) else metavar(argument.annotation)


def _checked(path: str, found: object, base: type) -> Callable[..., Any]:
    if inspect.isfunction(found) and isinstance(returned := get_type_hints(found).get("return"), type) and issubclass(returned, base):
        return found
    if not isinstance(found, type):
        raise ValueError(f"{path} is a {type(found).__name__}, no class; expected a class that extends {public_name(base)}")
    if not issubclass(found, base):
        kind = next((parent.__name__ for parent in found.__mro__[1:] if inspect.isabstract(parent)), None)
        what = f"is a {kind}, no {public_name(base)}" if kind else f"does not extend {public_name(base)}"
        raise ValueError(f"{path} {what}{_expected(base)}")
    return found


def _expected(base: type) -> str:
    known = list(known_classes(base))
    return f"; expected a class such as seglab.{known[0]}" if known else ""


def _like(name: str, base: type, module: ModuleType | None = None) -> str:
    """Return a hint at the class of a module with the closest name, and at the other classes.

    Without a module, the hint is at the classes of seglab.
    """
    if module is None or module is seglab:
        return did_you_mean(name, [f"seglab.{one}" if one in seglab.__all__ else one for one in known_classes(base)], "seglab.")
    own = [
        one
        for one, found in vars(module).items()
        if isinstance(found, type) and issubclass(found, base) and found.__module__ == module.__name__
    ]
    path = f"{module.__name__}."
    return (f"; it has {', '.join(own)}" if own else "") + did_you_mean(name, [f"{path}{one}" for one in own], path)


def known_classes(base: type) -> dict[str, type]:
    """Return seglab's public, concrete classes and its cluster schedulers that extend `base`.

    A class that also extends a class of another library is left out.
    """
    from seglab.cluster.here import CLUSTERS

    public = {name: getattr(seglab, name) for name in seglab.__all__} | {cluster.__name__: cluster for cluster in CLUSTERS}
    return {
        name: found
        for name, found in sorted(public.items())
        if isinstance(found, type)
        and base in found.__mro__[1:]
        and not inspect.isabstract(found)
        and all(parent in base.__mro__ or parent.__module__.partition(".")[0] in ("seglab", "abc", "typing") for parent in found.__mro__)
    }
