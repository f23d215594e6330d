"""The command line of `seglab check`. torch is imported only once there is a loss to check."""

import inspect
import sys
from argparse import ArgumentError
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from seglab.exit_codes import FAILED
from seglab.script.classes import class_in, imported, reason
from seglab.script.command_line import parse
from seglab.script.errors import exit_code
from seglab.script.help import Help
from seglab.suggestions import did_you_mean

if TYPE_CHECKING:
    from torch import nn

NAMING = "a loss is named by the import path of its class, your own from the working directory: seglab check my_file.MyLoss --gamma 2"


def main(words: Sequence[str]) -> NoReturn:
    """Check the loss that `words` name, and exit.

    The exit code is 0 if nothing failed, 1 if a check failed, 2 for bad input, and 75 if interrupted.
    """
    sys.path.insert(0, str(Path.cwd()))  # a user's own classes, by import path from the working directory
    sys.exit(exit_code(lambda: check(words), resumes=False))


def check(words: Sequence[str]) -> int:
    """Build the loss, run the checks, print their outcomes and return an exit code."""
    if not words or words[0].startswith("-"):
        if {"-h", "--help"} & set(words):
            _parser("LOSS", None)[0].parse_args(["--help"])
        raise ValueError(f"name the loss first; {NAMING}")
    built(words)  # raises for bad values before any check runs

    from seglab.checking.candidate import Subject
    from seglab.checking.report import report

    console = Console(width=None if sys.stdout.isatty() else 120)
    candidate = Subject(partial(built, tuple(words)), parsed(words).classes)
    return FAILED if report(candidate, " ".join(words), console) else 0


def built(words: Sequence[str]) -> "nn.Module":
    """Build the loss that the words of a command line describe.

    Raises:
        ValueError, ArgumentError: if there is no such loss, or the loss does not accept these arguments.
    """
    request = parsed(words)
    try:
        return request.loss(**request.arguments)
    except Exception as error:
        raise ValueError(f"{words[0]}: {reason(error)}") from error


class Request(NamedTuple):
    """A loss class, the arguments of its constructor, and the number of classes for the checks."""

    loss: "type[nn.Module]"
    arguments: dict[str, Any]
    classes: int


def parsed(words: Sequence[str]) -> Request:
    """Parse the words of a command line: the import path of a loss, then flags.

    Raises:
        ValueError, ArgumentError: if there is no such loss, or it does not accept these flags.
    """
    path, *flags = words
    loss = loss_class(path)
    parser, own = _parser(path, loss)
    given: dict[str, Any] = vars(_instantiated(parser, parse(parser, flags)))
    arguments = {name: given[name] for name in own}
    for name, parameter in inspect.signature(loss).parameters.items():  # jsonargparse requires no argument that has no type
        if parameter.default is parameter.empty and arguments.get(name, ...) is None:
            raise ValueError(f"{path} needs {name}, as in --{name} VALUE")
    numbers = (number for number in (given["classes"], given.get("num_classes")) if isinstance(number, int))
    classes = next(numbers, 3)
    if not 1 <= classes <= 255:
        raise ValueError(f"--classes {classes}: must be 1 to 255")
    return Request(loss, arguments, classes)


def loss_class(path: str) -> "type[nn.Module]":
    """Return the class at an import path.

    Raises:
        ValueError: if there is no such class, its file cannot be imported, or it is no `nn.Module`.
    """
    from torch import nn

    import seglab.losses

    file, _, name = path.rpartition(".")
    losses = [f"seglab.losses.{one}" for one in seglab.losses.__all__]
    if not file or not all(map(str.isidentifier, path.split("."))):
        raise ValueError(f"{path!r} is no import path{did_you_mean(name, losses, 'seglab.losses.')}; {NAMING}")
    return _checked(path, class_in(imported(file), name, nn.Module))


def _checked(path: str, found: object) -> "type[nn.Module]":
    from torch import nn

    if not isinstance(found, type):
        raise ValueError(
            f"{path} is a {type(found).__name__}, no class: write a class MyLoss(nn.Module) whose forward(self, logits, mask) calls it"
        )
    if not issubclass(found, nn.Module):
        raise ValueError(f"{path} is no torch.nn.Module: derive it, as in class {found.__name__}(nn.Module)")
    return found


def _parser(path: str, loss: "type[nn.Module] | None") -> tuple[ArgumentParser, list[str]]:
    """Return a parser with the flags of a loss, and the names of these flags.

    The parser also has the flag `--classes` of `seglab check`, unless the loss has an argument `classes`.
    """
    parser = ArgumentParser(
        prog=f"seglab check {path}",
        exit_on_error=False,
        formatter_class=Help,
        description="Try a loss before a comparison rests on it: numbers, gradients, ignored pixels, absent classes, half precision, two "
        "processes. LOSS is a class by its import path, your own from the working directory; its constructor's arguments are flags. "
        "Exit codes: 0 nothing failed, 1 something did, 2 bad input.",
    )
    own: list[str] = [] if loss is None else parser.add_class_arguments(loss, as_group=False, fail_untyped=False)
    if "classes" not in own:
        parser.add_argument("--classes", type=int | None, default=None, help="classes to try it with; default: its num_classes, or 3")
    return parser, own


def _instantiated(parser: ArgumentParser, chosen: Namespace) -> Namespace:
    """Build the objects that a command line names.

    An exception of a constructor that is no message for people becomes a ValueError.
    """
    try:
        built: Namespace = parser.instantiate(chosen)
        return built
    except (ValueError, ArgumentError, ImportError, OSError):
        raise
    except Exception as error:
        raise ValueError(reason(error)) from error
