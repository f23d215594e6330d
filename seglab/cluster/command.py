"""Commands as lists of words, and classes as import paths. No torch."""

import importlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TypeVar

Class = TypeVar("Class")


def words_here(command: Sequence[str]) -> list[str]:
    """Return a command for this machine: `python` becomes the interpreter of this process."""
    return [sys.executable if command[0] == "python" else command[0], *command[1:]]


def shell(command: Sequence[str]) -> str:
    """Return a command as text for a shell, with quotes where necessary."""
    return shlex.join(command)


def ask(words: Sequence[str], seconds: float = 60.0, environment: Mapping[str, str] | None = None) -> str:
    """Run a command of a scheduler and return its output.

    The command has the variables of `environment`, or those of this process, and an empty standard input.

    Raises:
        ValueError: The command is missing, fails, or does not answer in time. If the command fails, its own message is
            raised.
    """
    if shutil.which(words[0]) is None:
        raise ValueError(f"there is no {words[0]} on this machine; a scheduler's commands are on the login nodes of its cluster")
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, env=environment)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{words[0]} did not answer within {seconds:.0f} seconds; try again when the scheduler is back") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or " ".join(done.stdout.split())
        raise ValueError(said or f"{words[0]} ended with exit code {done.returncode}")
    return done.stdout


def class_path(found: type[object]) -> str:
    """Return the import path of a class."""
    return f"{found.__module__}.{found.__qualname__}"


def class_at(path: str, base: type[Class]) -> type[Class]:
    """Import the class at `path`.

    Raises:
        ValueError: There is no such class, or it is no subclass of `base`.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} cannot be imported ({error}); work in the directory that the jobs were launched from") from None
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"{path} is no {base.__name__}")
    return found
