"""Find the class that a user names by an import path, and say in one line why it cannot be found. No torch."""

import difflib
import importlib
import inspect
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import seglab
from seglab.script.flag_types import metavar

FORM = "a class is named by its import path, your own from the working directory, as in my_file.MyClass"


def class_named(path: str, base: type) -> type:
    """Return the class at an import path. A public class of seglab may be named without `seglab.`, and so may a known subclass of `base`.

    Raises:
        ValueError: there is no such class, its file cannot be imported, or it does not extend `base`.
    """
    if not all(map(str.isidentifier, path.split("."))):
        raise ValueError(f"{path!r} is no import path{_like(path.rpartition('.')[2], base)}; {FORM}")
    file, _, name = path.rpartition(".")
    if not file:
        found = known_classes(base).get(name, getattr(seglab, name) if name in seglab.__all__ else None)
        if found is None:
            raise ValueError(f"there is no class {name!r}{_like(name, base)}; {FORM}")
        return _checked(path, found, base)
    module = imported(file)
    if not hasattr(module, name):
        raise ValueError(f"{file} has no class {name!r}{_like(name, base, module)}")
    return _checked(path, getattr(module, name), base)


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

    The message of a ValueError is written for people and stands alone. Other messages are unclear without the type and the place.
    """
    message = " ".join(str(error).split())
    if isinstance(error, ValueError):
        return message
    frames = traceback.extract_tb(error.__traceback__)
    place = "" if isinstance(error, SyntaxError) or not frames else f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
    return f"{type(error).__name__}: {message}{place}"


def meant(name: str, known: Iterable[str]) -> str:
    """Return a hint at the closest known name; an empty text if no name is close."""
    names = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name.casefold(), names, n=1)
    return f" (did you mean {names[close[0]]}?)" if close else ""


def described(argument: inspect.Parameter) -> str:
    """Return the word that stands for the value of an argument in a help text."""
    return "VALUE" if argument.annotation is argument.empty or isinstance(argument.annotation, str) else metavar(argument.annotation)


def _checked(path: str, found: object, base: type) -> type:
    if not isinstance(found, type):
        raise ValueError(f"{path} is a {type(found).__name__}, no class; expected a class that extends {base.__name__}")
    if not issubclass(found, base):
        kind = next((parent.__name__ for parent in found.__mro__[1:] if inspect.isabstract(parent)), None)
        what = f"is a {kind}, no {base.__name__}" if kind else f"does not extend {base.__name__}"
        raise ValueError(f"{path} {what}{_expected(base)}")
    return found


def _expected(base: type) -> str:
    known = list(known_classes(base))
    return f"; expected a class such as seglab.{known[0]}" if known else ""


def _like(name: str, base: type, module: ModuleType | None = None) -> str:
    """Return a hint at the class of a module with the closest name, and at the others; without a module, at the classes of seglab."""
    if module is None or module is seglab:
        close = meant(name, known_classes(base)) or meant(name, seglab.__all__)
        return close.replace("mean ", "mean seglab.")
    own = [one for one, found in vars(module).items() if isinstance(found, type) and issubclass(found, base) and found.__module__ == module.__name__]
    return (f"; it has {', '.join(own)}" if own else "") + meant(name, own)


def known_classes(base: type) -> dict[str, type]:
    """Return the public, concrete classes of seglab, and its schedulers, that extend `base` and no class of another library beside it."""
    from seglab.cluster.here import CLUSTERS

    public = {name: getattr(seglab, name) for name in seglab.__all__} | {cluster.__name__: cluster for cluster in CLUSTERS}
    return {
        name: found
        for name, found in sorted(public.items())
        if isinstance(found, type)
        and base in found.__mro__[1:]
        and not inspect.isabstract(found)
        and all(parent in base.__mro__ or parent.__module__.partition(".")[0] == "seglab" for parent in found.__mro__)
    }
