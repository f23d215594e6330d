"""Words of a command line: rewrite what has one possible meaning, and explain in one line what cannot be parsed.

A parser of jsonargparse is given, of a script or of `seglab fit`, with verbs or without. No torch.
"""

import inspect
import json
import re
from argparse import Action, ArgumentError, _SubParsersAction
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jsonargparse import ArgumentParser, Namespace

from seglab.script.augmentations import FLAG, augmentation_fault, augmentation_named
from seglab.script.classes import class_named, described, reason
from seglab.script.errors import one_line
from seglab.script.flag_types import (
    NUMBERS,
    arguments_given,
    class_of,
    is_optional,
    items_of,
    listed,
    mapped_class,
    members,
    metavar,
    type_of,
    words_of,
)
from seglab.script.shifts import shifts_named, takes_shifts
from seglab.suggestions import did_you_mean

_TRUE, _FALSE, _NONE = ("true", "1", "yes", "on"), ("false", "0", "no", "off"), ("none", "null", "")

_EXAMPLE = {"INT,INT": "96,128", "FLOAT,FLOAT": "0.9,0.99"}


def parse(parser: ArgumentParser, words: Sequence[str]) -> Namespace:
    """Parse a command line.

    Raises:
        ValueError: the command line is not valid; the message names the flag, and the form to type.
    """
    line = _Line.of(parser, words)
    try:
        chosen: Namespace = parser.parse_args(line.rewritten())
        return chosen
    except Exception as error:  # an import of a user's file may raise anything
        raise ValueError(line.fault(str(error)) or _told(line, error)) from error


class _Flag(NamedTuple):
    """A flag as typed."""

    name: str
    """With its dashes, in the spelling of the parser."""
    value: str | None
    action: Action | None
    """The flag of the parser; for an argument of a class, such as `--loss.gamma`, the flag of the class. None if there
    is no such flag.
    """

    @property
    def whole(self) -> bool:
        """Return whether the word names a flag of the parser, in contrast to an argument of a class."""
        return self.action is not None and self.name in self.action.option_strings

    @property
    def is_switch(self) -> bool:
        """Return whether the flag is true or false, so that it means true if it stands alone."""
        return self.whole and self.action is not None and members(type_of(self.action)) == (bool,)

    @property
    def names_an_item(self) -> bool:
        """Return whether the word names an item of a mapping from names to classes, such as `--shifts.night`."""
        if self.action is None or mapped_class(type_of(self.action)) is None:
            return False
        return any(self.name.startswith(f"{flag}.") and self.name.count(".") == flag.count(".") + 1 for flag in self.action.option_strings)


class _Line(NamedTuple):
    """A command line with verbs: the words up to the verb, the verb, and the words after it.

    Without verbs, all words are `rest`.
    """

    before: list[str]
    verb: str | None
    rest: list[str]
    parser: ArgumentParser
    """Parser of the verb, or the only one."""
    verbs: dict[str, ArgumentParser]

    @classmethod
    def of(cls, parser: ArgumentParser, words: Sequence[str]) -> "_Line":
        verbs = _verbs(parser)
        place = next((place for place, word in enumerate(words) if not word.startswith("-")), len(words)) if verbs else 0
        verb = words[place] if verbs and place < len(words) else None
        before, rest = list(words[:place]), list(words[place + (verb is not None) :])
        return cls(before, verb, rest, verbs.get(verb or "", parser), verbs)

    def rewritten(self) -> list[str]:
        """Return the words, in the parser's spelling of flags and values."""
        words: list[str] = []
        for item in self.items():
            if isinstance(item, _Flag) and item.value is not None and _takes_several(item.action):
                words += [item.name, *filter(None, item.value.split(","))]
            elif isinstance(item, _Flag):
                words += [item.name] if item.value is None else [f"{item.name}={self._list_of_class(item) or _rewritten(item)}"]
            else:
                words.append(item)
        return [*self.before, *([] if self.verb is None else [self.verb]), *words]

    def items(self) -> Iterator["_Flag | str"]:
        """Yield the flags with their values, and the words that are no value of a flag."""
        words = list(self.rest)
        while words:
            word = words.pop(0)
            if not re.match(r"--\w|-\w$", word):
                yield word
                continue
            typed, equals, text = word.partition("=")
            name = _spelled(self.parser, typed)
            action = _action(self.parser, name)
            value: str | None = text if equals else None
            if not equals and words and _takes_value(action) and not re.match(r"--\w", words[0]):
                value = words.pop(0)
                while _takes_several(action) and words and not re.match(r"--\w", words[0]):
                    value = f"{value},{words.pop(0)}"
            flag = _Flag(name, value, action)
            yield flag._replace(value="true") if value is None and flag.is_switch else flag

    def _list_of_class(self, flag: _Flag) -> str | None:
        """Return the value `a,b` of a class's argument as `["a", "b"]`; None if the argument takes no list of words.

        The class is typed, as in `--data.source HuggingFace --data.source.class_names a,b`.
        """
        owner, _, argument = flag.name.replace(".init_args.", ".").rpartition(".")
        path = next((item.value for item in self.items() if isinstance(item, _Flag) and item.name == owner), None)
        if (
            flag.whole
            or flag.action is None
            or flag.value in (None, "null")
            or not re.fullmatch(r"[^\[\]{}(),]+(,[^\[\]{}(),]+)*", flag.value)
        ):
            return None
        base = class_of(type_of(flag.action)) if owner in flag.action.option_strings else None
        if path is None or base is None:
            return None
        try:
            arguments = inspect.signature(class_named(path, base), eval_str=True).parameters
        except (ValueError, NameError, AttributeError, TypeError):  # the parser says what is wrong with the class
            return None
        items = items_of(arguments[argument].annotation) if argument in arguments else None
        return None if items is None or not {*items} <= {str} else json.dumps([part.strip() for part in flag.value.split(",")])

    def fault(self, error: str) -> str | None:
        """Return what is wrong with the words, if seen without the parser, which gave this error; else None."""
        if self.verbs and self.parser not in self.verbs.values():
            return self._no_verb()
        before: _Flag | None = None
        for item in self.items():
            if isinstance(item, str):
                if _places(self.parser):
                    continue
                return _stray(item, before)
            if found := self._flag_fault(item, error):
                return found
            before = item
        return None

    def _no_verb(self) -> str:
        known = [verb for verb, parser in self.verbs.items() if parser.description]
        listed = f"{', '.join(known[:-1])} or {known[-1]}"
        if self.verb is None or self.before:
            return f"name a verb first: {listed}, as in `{known[0]} --help`"
        return f"there is no verb {self.verb!r}{did_you_mean(self.verb, known)}; expected {listed}"

    def _flag_fault(self, flag: _Flag, error: str) -> str | None:
        if flag.action is None:
            return None if re.match(r"--data\.", flag.name) else self._unknown(flag)  # `one_line` has words of its own for data
        if flag.action.nargs == 0:
            return None if flag.value is None else f"{flag.name} takes no value; type {flag.name} alone"
        if flag.value is None:
            return f"{flag.name}: a value is missing" if _takes_value(flag.action) and flag.action.nargs != "?" else None
        if flag.whole and flag.name.endswith(FLAG):
            return augmentation_fault(flag.name, flag.value, self._arguments_of(flag.name))
        kind = type_of(flag.action)
        takes_text = {str, bool} & set(members(kind))  # such as the name of an accelerator beside its class
        base = class_of(kind) if flag.whole and not takes_text else None
        if flag.names_an_item:
            base = mapped_class(kind)
        is_path = not flag.value.startswith(("{", "[")) and not flag.value.endswith((".yaml", ".yml", ".json"))
        if base is None or not is_path or (flag.value == "null" and is_optional(kind)):
            return None
        given = arguments_given(kind)
        return self._class_fault(flag.name, flag.value, base, given if "required" in error else None)

    def _class_fault(self, flag: str, path: str, base: type, given_first: int | None) -> str | None:
        """Return what is wrong with a class and the arguments that are typed for it.

        Args:
            flag, path: as typed.
            base: what the class has to extend.
            given_first: number of first arguments that need not be typed, because the caller gives them; None if no
                argument lacks.
        """
        if path == "null":
            return f"{flag}: null is no class, and one is needed; leave {flag} out for its default"
        try:
            found = class_named(path, base)
        except ValueError as error:
            return f"{flag}: {error}"
        given = self._arguments_of(flag)
        arguments = inspect.signature(found).parameters
        others = [name for name in given if name not in ("help", *arguments)]
        if others and not any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values()):
            return f"{flag}.{others[0]}: {path} has no argument {others[0]!r}{did_you_mean(others[0], arguments)}; {flag}.help {path} lists them"
        typed = list(arguments.values())[given_first:]
        missing = [argument for argument in typed if _is_required(argument) and argument.name not in given]
        combines = any(base.__name__ in str(argument.annotation) for argument in missing)  # `errors` has words of its own for these
        if given_first is not None and missing and not combines:
            needed = " ".join(f"{flag}.{argument.name} {described(argument)}" for argument in missing)
            return f"{flag}: {path} needs {', '.join(argument.name for argument in missing)}; add {needed}"
        return None

    def _arguments_of(self, flag: str) -> list[str]:
        """Return the names of the arguments that are typed for a class."""
        names = [
            item.name.removeprefix(f"{flag}.") for item in self.items() if isinstance(item, _Flag) and item.name.startswith(f"{flag}.")
        ]
        return [name.removeprefix("init_args.").partition(".")[0] for name in names]

    def _unknown(self, flag: _Flag) -> str:
        known = sorted(name for name in self.parser._option_string_actions if name.startswith("--") and not name.endswith((".help", "+")))
        owners = [verb for verb, parser in self.verbs.items() if flag.name in parser._option_string_actions and parser.description]
        if owners:
            return f"{flag.name} is a flag of `{owners[0]}`, and not of `{self.verb}`; --help lists those of `{self.verb}`"
        ends = {f"--{name.strip('-').rpartition('.')[2]}": name for name in known}  # such as --loss for --model.loss
        hint = did_you_mean(flag.name, known) or re.sub(r"--\w+", lambda close: ends[close[0]], did_you_mean(flag.name, ends))
        where = f" of `{self.verb}`" if self.verb else ""
        return f"there is no flag {flag.name}{where}{hint}; --help lists what there is"


def _told(line: _Line, error: BaseException) -> str:
    """Return the parser's own error as one line; of a required flag, with its type."""
    if missing := re.search(r"the following arguments are required: ([\w., ]+)$", str(error)):
        names = [name.removeprefix(f"{line.verb}.") for name in missing[1].split(", ")]
        unflagged = _places(line.parser)
        needed = [str(unflagged[name].metavar) if name in unflagged else f"--{name} {described_type(line.parser, name)}" for name in names]
        return f"{line.verb or line.parser.prog} needs {' and '.join(needed)}{'; --help explains them' if unflagged else ''}"
    if unknown := re.search(r"^Subcommand '\w+' does not accept option '([\w.]+)'$", str(error)):
        known = [name.removeprefix("--") for name in line.parser._option_string_actions if name.startswith("--")]
        return f"the configuration file has the key {unknown[1]}, and `{line.verb}` has no such flag{did_you_mean(unknown[1], known)}"
    if not isinstance(error, ValueError | TypeError | ArgumentError | ImportError | OSError):
        return reason(error)
    told = one_line(error)
    typed = next((item for item in line.items() if isinstance(item, _Flag) and told.startswith(f"{item.name}: ")), None)
    if typed is None or typed.value is None:
        return told
    kind = type_of(typed.action) if typed.whole and typed.action is not None else None
    places = items_of(listed(kind))
    if places is not None and len(places) > 1 and "expected tuple" in told:
        form = ",".join(map(metavar, places))
        return f"{typed.name}: expected {len(places)} values in one word, {form}, as in {typed.name} {_EXAMPLE.get(form, form)}; got {typed.value}"
    if places is not None and (words := words_of(kind)):
        form = ",".join(map(metavar, places))
        return f"{typed.name}: expected {form}, as in {typed.name} {_EXAMPLE.get(form, form)}, or {', '.join(words)}; got {typed.value}"
    is_named = " got " in told or re.search(rf"(?<!\w){re.escape(typed.value)}(?![\w-])", told)
    return told if is_named else f"{told.replace('Expected a ', 'expected ')}, got {typed.value}"


def described_type(parser: ArgumentParser, name: str) -> str:
    """Return the word that stands for the value of a flag in the help."""
    action = _action(parser, f"--{name}")
    if action is None:
        return "VALUE"
    return action.metavar if isinstance(action.metavar, str) else metavar(type_of(action))


def _rewritten(flag: _Flag) -> str:
    """Return a value in the form that the parser takes: `l1,l2` as a list, `None` as null, `yes` as true.

    A flag that takes text has its value as typed, because an arm may be named none.
    """
    text = flag.value or ""
    if not flag.whole or flag.action is None:
        return text
    if flag.name.endswith(FLAG):
        return augmentation_named(text)
    kind = type_of(flag.action)
    kinds = members(kind)
    if is_optional(kind) and str not in kinds and text.strip().lower() in _NONE:
        return "null"
    if kinds == (bool,):
        return "true" if text.lower() in _TRUE else "false" if text.lower() in _FALSE else text
    if takes_shifts(kind):
        try:
            return shifts_named(text)
        except ValueError as error:
            raise ValueError(f"{flag.name}: {error}") from error
    if kinds and all(member in NUMBERS for member in kinds):
        return _number(flag.name, text)
    items = None if text in words_of(kind) else items_of(listed(kind))
    plain = items is not None and all(member in NUMBERS for item in items for member in members(item))
    if items is None or (text.strip().startswith("[") and not plain) or text == "null":
        return text
    inner = re.sub(r"^[(\[](.*)[)\]]$", r"\1", text.strip())
    parts = [part.strip() for part in inner.split(",") if part.strip()]
    return "[" + ", ".join(_number(flag.name, part) if plain else json.dumps(part) for part in parts) + "]"


def _number(flag: str, text: str) -> str:
    """Return a number as typed, without its leading zeros, with which YAML would take it as octal.

    Raises:
        ValueError: the number has a colon, with which YAML would take it as minutes and seconds.
    """
    if re.fullmatch(r"[-+]?\d+(:[\d.]+)+", text):
        raise ValueError(f"{flag}: expected a number, got {text}")
    return re.sub(r"^([-+]?)0+(?=\d)", r"\1", text)


def _verbs(parser: ArgumentParser) -> dict[str, Any]:
    """Return the parser of each verb."""
    return next((dict(action.choices) for action in parser._actions if isinstance(action, _SubParsersAction)), {})


def _spelled(parser: ArgumentParser, name: str) -> str:
    """Return a flag with underscores for hyphens, so that users may type either.

    The keys of an argument that is a mapping stay as typed, as in `--launcher.options.mail-type`: the user has chosen
    them.
    """
    known = parser._option_string_actions
    under = "--" + name[2:].replace("-", "_")
    if name in known or not name.startswith("--"):
        return name
    if under in known:
        return under
    parts = under.split(".")
    for length in range(len(parts) - 1, 0, -1):
        flag = known.get(".".join(parts[:length]))
        if flag is not None and mapped_class(type_of(flag)) is not None:  # the next name is a key, and what follows it are identifiers
            return ".".join([*parts[:length], name.split(".")[length], *parts[length + 1 :]])
        if flag is not None:  # the next name is an argument of a class, and so an identifier
            typed = name.split(".")[length + 1 :]
            return ".".join([*parts[: length + 1], *typed])
    return ".".join([under.split(".")[0], *name.split(".")[1:]])


def _action(parser: ArgumentParser, name: str) -> Action | None:
    """Return the flag of this name, or the flag of the class that has this argument."""
    known = parser._option_string_actions
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        found: Action | None = known.get(".".join(parts[:length]))
        if found is not None:
            nested = length < len(parts)
            return found if not nested or class_of(type_of(found)) is not None or _holds_more(found) else None
    return None


def _holds_more(action: Action) -> bool:
    """Return whether a flag may have arguments below it for another reason than its class: a mapping, or a union."""
    kind = type_of(action)
    return kind is not None and kind not in (*NUMBERS, str)


def _takes_value(action: Action | None) -> bool:
    return action is None or action.nargs != 0


def _takes_several(action: Action | None) -> bool:
    """Return whether several words may follow a flag, as in `--to onnx pt2`."""
    return action is not None and action.nargs == "+"


def _places(parser: ArgumentParser) -> dict[str, Action]:
    """Return the arguments that have no flag, such as the checkpoint of `seglab predict`, by name."""
    return {action.dest: action for action in parser._actions if not action.option_strings and not isinstance(action, _SubParsersAction)}


def _is_required(argument: inspect.Parameter) -> bool:
    return argument.default is argument.empty and argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)


def _stray(word: str, before: _Flag | None) -> str:
    """Describe a word that is no value of a flag."""
    if before is not None and before.action is not None and before.value is not None and items_of(type_of(before.action)) is not None:
        return f"{before.name}: a list is one word: {before.name} {before.value},{word}"
    if before is not None and not _takes_value(before.action):
        return f"{before.name} takes no value, and {word!r} follows it; type {before.name} alone"
    name, equals, _ = word.partition("=")
    if equals and name.isidentifier():
        return f"{word!r}: a flag begins with two dashes: --{word}"
    return f"{word!r} belongs to no flag: a flag and its value are typed as in --epochs 3; --help lists what there is"
