"""Parse the command line of an experiment script. The parameters of the study function are flags of each verb."""

import inspect
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from seglab.cluster.cluster import Cluster
from seglab.cluster.here import CLUSTERS
from seglab.data import SegmentationDataModule
from seglab.running.job import EvaluatedSplit
from seglab.running.plan import Selection
from seglab.running.resources import Resources
from seglab.script.reading import add_cancelling_flags, add_comparison_flags, add_place
from seglab.study.study import Study

StudyFunction = Callable[..., Study]


def parser_of(function: StudyFunction) -> ArgumentParser:
    """Return the parser of an experiment script, with all its verbs."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    module = sys.modules[function.__module__]
    parser = ArgumentParser(description=module.__doc__, exit_on_error=False, allow_abbrev=False)
    verbs = parser.add_subcommands(required=True, dest="command")
    verbs.add_subcommand(
        "run", _run_parser(function), help="train and test every arm under every seed that has no result yet, then compare"
    )
    verbs.add_subcommand("launch", _launch_parser(function), help="the same on a cluster: submit jobs for what has no result yet")
    verbs.add_subcommand("status", _reading_parser(), help="what is done, running, failed and open, and which jobs are in the queue")
    verbs.add_subcommand("cancel", _cancelling_parser(), help="cancel the jobs that `launch` has submitted")
    verbs.add_subcommand("compare", _comparison_parser(), help="the comparison of what is done, and report.html")
    verbs.add_subcommand("work", _training_parser(function), help="(started by run) work on the runs of a study until none is left")
    verbs.add_subcommand("work-tuning", _training_parser(function), help="(started by run) the same for the runs that tune it")
    verbs.add_subcommand("retest", _retest_parser(function), help="(started by seglab test) evaluate the weights of one run again")
    verbs.add_subcommand("execute", _training_parser(function), help="(started by run) one run on several devices")
    return parser


def _training_parser(function: StudyFunction) -> ArgumentParser:
    parser = study_parser(function)
    add_place(parser)
    parser.add_class_arguments(Selection, as_group=False)
    parser.add_class_arguments(Resources, as_group=False)
    return parser


def _starting_parser(function: StudyFunction) -> ArgumentParser:
    """Return the parser of a verb that records the study before its runs start."""
    parser = _training_parser(function)
    parser.add_argument(
        "--accept_code",
        type=str | None,
        default=None,
        help="why edits of your code since the study was recorded change no number, so that its runs go on; study.json keeps the reason",
    )
    return parser


def _launch_parser(function: StudyFunction) -> ArgumentParser:
    parser = _starting_parser(function)
    known = ", ".join(cluster.__name__ for cluster in CLUSTERS)
    parser.add_argument(
        "--launcher",
        type=Cluster | None,
        default=None,
        help=f"the scheduler, {known} or a Cluster of your own by its import path; default: the one of this machine. "
        "--launcher.help CLASS lists its flags",
    )
    parser.add_argument("--dry_run", action="store_true", help="show the script that the scheduler would get; do nothing")
    return parser


def _cancelling_parser() -> ArgumentParser:
    parser = _reading_parser()
    add_cancelling_flags(parser)
    return parser


def _run_parser(function: StudyFunction) -> ArgumentParser:
    parser = _starting_parser(function)
    parser.add_argument("--jobs", type=int | None, default=None, help="runs at a time; default: one a GPU, or one")
    parser.add_argument("--dry_run", action="store_true", help="list the runs and the commands that reproduce them; do nothing")
    parser.add_argument("--wait", action="store_true", help="wait for runs that other processes work on, and do those that they leave")
    return parser


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
    """Return a parser whose flags are the parameters of a study function. A data module becomes `--data.source` and `--data.NAME`."""
    parser = ArgumentParser(exit_on_error=False)
    data = {name: parameter for name, parameter in inspect.signature(function).parameters.items() if _is_data(parameter)}
    parser.add_function_arguments(function, as_group=False, fail_untyped=True, skip=set(data))
    for name, parameter in data.items():
        flags = parser.add_class_arguments(SegmentationDataModule, name)
        if isinstance(parameter.default, SegmentationDataModule):
            parser.set_defaults({flag: getattr(parameter.default, flag.removeprefix(f"{name}.")) for flag in flags})
    return parser


def _is_data(parameter: inspect.Parameter) -> bool:
    """Return whether a parameter is annotated as a data module. With `from __future__ import annotations` the annotation is text."""
    annotation = parameter.annotation
    return annotation is SegmentationDataModule or str(annotation).rpartition(".")[2] == SegmentationDataModule.__name__


def resolved_flags(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Return parameters as the flags that reproduce them: a class as its import path, then each argument as `--name.argument`."""
    words: list[str] = []
    for name, value in parameters.items():
        if isinstance(value, Mapping) and "class_path" in value:
            words += [f"--{name}", value["class_path"], *_flags_within(name, value.get("init_args", {}))]
        elif isinstance(value, Mapping) and isinstance(value.get("source"), Mapping):  # a data module
            words += _flags_within(name, value)
        else:
            words += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    return tuple(words)


def _flags_within(name: str, parameters: Mapping[str, Any]) -> tuple[str, ...]:
    return resolved_flags({f"{name}.{key}": value for key, value in parameters.items()})
