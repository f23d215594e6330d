"""Parse the command line of an experiment script. The parameters of the study function are flags of each verb."""

import dataclasses
import inspect
import json
import re
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings
from jsonargparse._core import ActionsContainer, ArgumentGroup

from seglab.cluster.cluster import Cluster
from seglab.cluster.here import CLUSTERS
from seglab.data import SegmentationDataModule
from seglab.running.job import EvaluatedSplit
from seglab.running.plan import Selection
from seglab.running.resources import Resources
from seglab.script.help import CLASSES
from seglab.script.reading import add_cancelling_flags, add_comparison_flags, add_place
from seglab.script.verbs import script_parser
from seglab.study.study import Study

StudyFunction = Callable[..., Study | Sequence[Study]]
"""Returns a study, or several that compare the same arms on other data sets."""

EVERY_SCRIPT = (
    "root",
    "name",
    "accept_code",
    "amend",
    "try_arms",
    "launcher",
    "jobs",
    "runs_per_device",
    "dry_run",
    "full",
    "wait",
    "split",
)
"""Flags of every script beside those of `Selection` and `Resources`."""

INTERNAL = ("work", "work-tuning", "retest", "execute")
"""Verbs that `run`, `seglab test` and the jobs of a cluster start. The help does not list them."""


def parser_of(function: StudyFunction) -> ArgumentParser:
    """Return the parser of an experiment script, with all its verbs."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    verbs = {
        "run": _run_parser(function),
        "launch": _launch_parser(function),
        "status": _reading_parser(),
        "cancel": _cancelling_parser(),
        "compare": _comparison_parser(),
    }
    hidden = {name: _retest_parser(function) if name == "retest" else _training_parser(function) for name in INTERNAL}
    return script_parser(sys.modules[function.__module__].__doc__, verbs | hidden)


def _training_parser(function: StudyFunction) -> ArgumentParser:
    """Return a parser with the flags of a study and the flags in the group `running`, to which a verb adds its own."""
    parser = study_parser(function)
    parser.epilog = CLASSES
    _check_names(parser)
    running = parser.add_argument_group("running", name="running")
    add_place(running)
    running.add_class_arguments(Selection, as_group=False)
    running.add_class_arguments(Resources, as_group=False)
    return parser


def _check_names(parser: ArgumentParser) -> None:
    """Raise a ValueError if a parameter of the study function has the name of a flag that every script has."""
    taken = {field.name for kind in (Selection, Resources) for field in dataclasses.fields(kind)} | set(EVERY_SCRIPT)
    for action in parser._actions:
        if action.dest in taken:
            raise ValueError(
                f"the study function has a parameter {action.dest!r}, and --{action.dest} is a flag of every script; rename it"
            )


def _starting_parser(function: StudyFunction) -> ArgumentParser:
    """Return the parser of a verb that records the study before its runs start."""
    parser = _training_parser(function)
    _running(parser).add_argument(
        "--try_arms",
        type=bool,
        default=True,
        help="train one step of each new arm on this machine's CPU before anything is written; false leaves this out",
    )
    _running(parser).add_argument(
        "--accept_code",
        type=str | None,
        default=None,
        help="why edits of your code since the study was recorded change no number, so that its runs go on; study.json keeps the reason",
    )
    _running(parser).add_argument(
        "--amend",
        type=str | None,
        default=None,
        help="why the declared analysis (docs/science/statistics.md) changes after the first result; every comparison shows it",
    )
    return parser


def _launch_parser(function: StudyFunction) -> ArgumentParser:
    parser = _starting_parser(function)
    known = ", ".join(cluster.__name__ for cluster in CLUSTERS)
    running = _running(parser)
    running.add_argument(
        "--launcher",
        type=Cluster | None,
        default=None,
        help=f"the scheduler, {known} or a Cluster of your own by its import path; default: the one of this machine. "
        "--launcher.help CLASS lists its flags",
    )
    running.add_argument("--runs_per_device", type=int | None, default=None, help="runs at a time on the GPUs of each job; default: one")
    running.add_argument(
        "--dry_run", action="store_true", help="show the script that the scheduler would get, after all checks; write nothing"
    )
    return parser


def _cancelling_parser() -> ArgumentParser:
    parser = _reading_parser()
    add_cancelling_flags(parser)
    return parser


def _run_parser(function: StudyFunction) -> ArgumentParser:
    parser = _starting_parser(function)
    running = _running(parser)
    running.add_argument("--jobs", type=int | None, default=None, help="runs at a time; default: one a GPU, or one")
    running.add_argument(
        "--runs_per_device",
        type=int | Literal["auto"] | None,
        default=None,
        help="runs at a time on each GPU, or on the CPU; auto is as many as the memory of a GPU holds; default: one",
    )
    running.add_argument(
        "--dry_run", action="store_true", help="list the runs and the commands that reproduce them, after all checks; write nothing"
    )
    running.add_argument("--wait", action="store_true", help="wait for runs that other processes work on, and do those that they leave")
    running.add_argument("--full", action="store_true", help="with --dry_run: commands with the value of every flag, defaults too")
    return parser


def _running(parser: ArgumentParser) -> ActionsContainer:
    return _group(parser, "running")


def _group(parser: ArgumentParser, name: str) -> ArgumentGroup:
    return (parser.groups or {})[name]


def _retest_parser(function: StudyFunction) -> ArgumentParser:
    parser = _training_parser(function)
    parser.add_argument("--split", type=EvaluatedSplit, default="test", help="the split to evaluate on")
    return parser


def _reading_parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    add_place(parser)
    return parser


def _comparison_parser() -> ArgumentParser:
    parser = _reading_parser()
    add_comparison_flags(parser)
    return parser


def study_parameters(function: StudyFunction, given: Namespace) -> Namespace:
    """Return the values of the flags that are parameters of the study function."""
    names = [action.dest for action in study_parser(function)._actions if action.dest != "help"]
    return Namespace({name: given[name] for name in dict.fromkeys(name.split(".")[0] for name in names) if name in given})  # type: ignore[no-untyped-call]


def study_parser(function: StudyFunction) -> ArgumentParser:
    """Return a parser whose flags are the parameters of a study function.

    A data module becomes `--data.source` and `--data.NAME`.
    """
    parser = ArgumentParser(exit_on_error=False)
    data = _data_modules(function)
    _check_defaults(function)
    try:
        parser.add_argument_group("study").add_function_arguments(function, as_group=False, fail_untyped=True, skip=set(data))
    except ValueError as error:
        if "import path for object" not in str(error):
            raise
        raise ValueError(
            f"main got a {type(function).__name__}, whose parameters cannot be flags; expected a function: write def study(...) -> Study, which calls it"
        ) from None
    for name, parameter in data.items():
        flags = parser.add_class_arguments(SegmentationDataModule, name)
        _group(parser, name).title = name
        if isinstance(parameter.default, SegmentationDataModule):
            parser.set_defaults({flag: getattr(parameter.default, flag.removeprefix(f"{name}.")) for flag in flags})
    return parser


def _check_defaults(function: StudyFunction) -> None:
    """Raise a ValueError if the default of a parameter is an array, which no parser can compare with other defaults."""
    for name, parameter in inspect.signature(function).parameters.items():
        try:
            bool(parameter.default == parameter.empty)
        except ValueError:
            raise ValueError(
                f"the study function has a parameter {name!r} whose default is a {type(parameter.default).__name__}; expected a list or a tuple of "
                "numbers, as no flag can hold an array"
            ) from None


def _data_modules(function: StudyFunction) -> dict[str, inspect.Parameter]:
    return {name: parameter for name, parameter in inspect.signature(function).parameters.items() if _is_data(parameter)}


def _is_data(parameter: inspect.Parameter) -> bool:
    """Return whether a parameter is annotated as a data module.

    With `from __future__ import annotations` the annotation is text.
    """
    annotation = parameter.annotation
    return annotation is SegmentationDataModule or str(annotation).rpartition(".")[2] == SegmentationDataModule.__name__


def flags_of(function: StudyFunction, parameters: Namespace) -> tuple[str, ...]:
    """Return the parameters of a study function as the flags that reproduce them, whatever the defaults are."""
    return _words(_plain(study_parser(function), parameters), _data_modules(function))


def changed_flags_of(function: StudyFunction, parameters: Namespace) -> tuple[str, ...]:
    """Return the flags of the parameters that differ from their defaults.

    All flags, if these few would not give the same parameters.
    """
    parser, groups = study_parser(function), _data_modules(function)
    plain = _plain(parser, parameters)
    few = _words(_plain(parser, parameters, skip_default=True), groups, _plain(parser, parser.get_defaults()))
    try:
        same = _plain(parser, parser.parse_args(few)) == plain
    except ArgumentError:
        same = False
    return few if same else _words(plain, groups)


def required_flags(function: StudyFunction) -> list[str]:
    """Return the names of the flags of a study that have no default."""
    parser = study_parser(function)
    defaults = parser.get_defaults()
    return [action.dest for action in parser._actions if action.required and defaults[action.dest] is None]


def _plain(parser: ArgumentParser, parameters: Namespace, *, skip_default: bool = False) -> dict[str, Any]:
    """Return parameters as JSON values: a class as `class_path` and `init_args`.

    A default that only the script can write, such as an object in a list, is left out. The parameters are not
    validated: parsed ones are valid, and defaults lack the parameters that have none.
    """
    defaults = parser.get_defaults()
    objects = [name for name, value in vars(parameters).items() if not _is_plain(value) and name in defaults]
    left_out = [name for name in objects if parameters[name] is defaults[name] or parameters[name] == defaults[name]]
    found = Namespace({name: value for name, value in vars(parameters).items() if name not in left_out})  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of `skip_default`, which writes the defaults that are left out
        text = parser.dump(found, format="json", skip_unset=False, skip_default=skip_default, skip_validation=True)
    plain: dict[str, Any] = json.loads(text)
    return plain


def _is_plain(value: object) -> bool:
    """Return whether a flag can hold a parsed value: numbers, text, containers of them, and classes with arguments."""
    if isinstance(value, Mapping | list | tuple | set):
        return all(map(_is_plain, value.values() if isinstance(value, Mapping) else value))
    return value is None or isinstance(value, str | int | float | PurePath | Enum | Namespace)


def _words(
    parameters: Mapping[str, Any], groups: Collection[str] = (), defaults: Mapping[str, Any] = MappingProxyType({})
) -> tuple[str, ...]:
    """Return parameters as flags: a class as its import path, then each argument as `--name.argument`.

    A group has flags of the form `--name.member`.

    A class that `defaults` names too is left out, and only its arguments are named.
    """
    words: list[str] = []
    for name, value in parameters.items():
        default = defaults.get(name)
        if isinstance(value, Mapping) and "class_path" in value:
            same = isinstance(default, Mapping) and default.get("class_path") == value["class_path"]
            words += [] if same else [f"--{name}", value["class_path"]]
            there = default["init_args"] if isinstance(default, Mapping) and same and "init_args" in default else {}
            words += _words_within(name, value.get("init_args", {}), there)
        elif name in groups:
            words += _words_within(name, value, default or {})
        else:
            text = value if isinstance(value, str) else _text(value)
            words += [f"--{name}={text}"] if isinstance(value, str) and text.startswith("-") else [f"--{name}", text]
    return tuple(words)


def _text(value: object) -> str:
    """Return plain data as JSON, with the words of YAML for the numbers that JSON lacks.

    >>> _text([float("inf"), float("-inf"), float("nan"), 1.0, "Infinity"])
    '[.inf, -.inf, .nan, 1.0, "Infinity"]'
    """
    words = {"Infinity": ".inf", "-Infinity": "-.inf", "NaN": ".nan"}
    return re.sub(r'"(?:[^"\\]|\\.)*"|-?Infinity|NaN', lambda found: words.get(found[0], found[0]), json.dumps(value))


def _words_within(name: str, parameters: Mapping[str, Any], defaults: Mapping[str, Any]) -> tuple[str, ...]:
    below = {f"{name}.{key}": value for key, value in defaults.items()}
    return _words({f"{name}.{key}": value for key, value in parameters.items()}, defaults=below)
