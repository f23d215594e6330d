"""Text of `--help`: a line or two for each flag, the classes of seglab that it accepts, and no library's class."""

import argparse
import re
import shutil
import sys
import textwrap
from collections.abc import Generator, Iterable
from typing import Any

from jsonargparse import DefaultHelpFormatter, Namespace
from typing_extensions import override

from seglab.script.classes import known_classes
from seglab.script.flag_types import class_of, items_of, metavar, type_of

CLASSES = "A flag that is a CLASS takes one of those named, or any class by its import path, your own from the working directory. Each \
argument of its constructor is a flag too: --FLAG.ARGUMENT. --FLAG.help CLASS lists them. A LIST is one word: a,b or [a,b]. A \
flag that is {true,false} is true if it stands alone."
"""Explanation of the flags that are classes and lists, for the end of a help text."""

MOST = 250
"""Maximum number of characters of a flag's help."""


class Help(DefaultHelpFormatter):
    """Help text without each flag's usage, without flags that only read files or print help, and with short types."""

    def __init__(self, prog: str, indent_increment: int = 2, max_help_position: int = 34, width: int | None = None) -> None:
        lines = min(120, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 120
        super().__init__(prog, indent_increment, max_help_position, lines if width is None else width)  # type: ignore[no-untyped-call]

    @override
    def _format_usage(self, usage: str | None, actions: Iterable[argparse.Action], *args: object, **kwargs: object) -> str:
        flags = [action for action in actions if action.option_strings]
        places = [action for action in actions if not action.option_strings]
        words = [f"{action.metavar or action.dest}{' ...' if action.nargs == '+' else ''}" for action in places]
        words += [
            f"{action.option_strings[0]} {action.metavar or metavar(type_of(action))}"
            for action in flags
            if action.required and action.default is None
        ]
        words += ["[--FLAG VALUE ...]"] if len(flags) > 1 or "VERB" in words else []
        prefix = args[-1] if args and isinstance(args[-1], str) else "usage: "
        return f"{prefix}{' '.join([self._prog.replace(' [options]', ''), *words])}\n\n"

    @override
    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        return default_metavar if items_of(type_of(action)) is not None else super()._format_args(action, default_metavar)

    @override
    def _format_action_invocation(self, action: argparse.Action) -> str:
        return re.sub(r", --[\w.]+\+ .*$", "", super()._format_action_invocation(action))  # --NAME+ appends to a list

    @override
    def add_arguments(self, actions: Iterable[argparse.Action]) -> None:
        """Add the flags of a group. Lightning describes the flags of its trainer, so that they are only named."""
        shown = [action for action in actions if not _is_auxiliary(action)]
        if shown and all(action.dest.startswith("trainer.") for action in shown):
            names = ", ".join(action.dest.removeprefix("trainer.") for action in shown)
            self.add_text(f"--trainer.NAME for each argument of lightning.Trainer: {names}")
        else:
            super().add_arguments(shown)

    @override
    def add_argument(self, action: argparse.Action) -> None:
        if not _is_auxiliary(action):
            super().add_argument(action)

    @override
    def _iter_indented_subactions(self, action: argparse.Action) -> Generator[argparse.Action, None, None]:
        """Leave out the verbs without a help text, which people do not type."""
        return (verb for verb in super()._iter_indented_subactions(action) if verb.help is not None)

    @override
    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        kind = type_of(action)
        return super()._get_default_metavar_for_optional(action) if kind is None else metavar(kind)

    @override
    def _get_help_string(self, action: argparse.Action) -> str:
        if action.help is None or getattr(action, "_jsonargparse_preexpanded_help", False):
            return super()._get_help_string(action)
        text = textwrap.shorten(action.help, MOST, placeholder=" ...").replace("%", "%%")
        text = text if text.endswith("..") else text.removesuffix(".")
        notes = [*_classes(action), *_default(action)]
        return f"{text} ({'; '.join(notes)})" if notes else text


def _is_auxiliary(action: argparse.Action) -> bool:
    """Return whether a flag stays out of the list: it prints help, or reads a file in place of the flags below it.

    A flag that is computed from another flag stays out too.
    """
    names = action.option_strings
    return type(action).__name__ == "ActionLink" or (
        bool(names)
        and ("-h" in names or names[0].endswith(".help") or type(action).__name__ in ("_ActionConfigLoad", "_ActionHelpClassPath"))
    )


def _room(found: type) -> str:
    return ".".join(found.__module__.split(".")[:2])


def _classes(action: argparse.Action) -> list[str]:
    """Name the public classes of seglab that a flag accepts."""
    base = class_of(type_of(action))
    known = {} if base is None else known_classes(base)
    if base is not None and not base.__module__.startswith(
        "seglab."
    ):  # a class of a library, such as Module: what fits is near the default
        path = _class_path(action.default)
        default = known.get(path.rpartition(".")[2]) if path.startswith("seglab.") else None
        known = {name: found for name, found in known.items() if default is not None and _room(found) == _room(default)}
    return [f"of seglab: {', '.join(known)}"] if known else []


def _default(action: argparse.Action) -> list[str]:
    if action.nargs == 0 or action.default == argparse.SUPPRESS:
        return []
    default = action.default
    if default is None:
        return ["required"] if action.required else []
    default = _class_path(default) or default
    if isinstance(default, bool):
        default = str(default).lower()
    text = ",".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
    return [f"default: {text}"]


def _class_path(default: Any) -> str:
    """Return the import path of a default that is a class; an empty text if it is none."""
    if isinstance(default, dict | Namespace):
        return str(default["class_path"]) if "class_path" in default else ""
    return default if isinstance(default, str) else ""
