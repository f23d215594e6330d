"""The command line of an experiment script: its verbs, and the study function's parameters as flags of each."""

import inspect
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from seglab.cluster.slurm import Slurm
from seglab.data import SegmentationDataModule
from seglab.running.execute import Accelerator
from seglab.study.study import Study
from seglab.tracking import WandbMode

StudyFunction = Callable[..., Study]


def parser_of(function: StudyFunction) -> ArgumentParser:
    """All verbs of an experiment script."""
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
    verbs.add_subcommand("work", _working_parser(function), help="(started by run) work on the runs of a study until none is left")
    verbs.add_subcommand("work-tuning", _working_parser(function), help="(started by run) the same for the runs that tune it")
    verbs.add_subcommand("execute", _training_parser(function), help="(started by run) one run on several devices")
    return parser


def _training_parser(function: StudyFunction) -> ArgumentParser:
    parser = study_parser(function)
    _add_place(parser)
    parser.add_argument("--arm", type=str | None, default=None, help="this arm alone")
    parser.add_argument("--seed", type=int | None, default=None, help="this seed alone")
    parser.add_argument("--setting", type=str | None, default=None, help="of a tuned --arm: its tuning runs with this setting alone")
    parser.add_argument("--devices", type=int, default=1, help="devices of one run, on each node; the batch size is of all together")
    parser.add_argument("--num-nodes", type=int, default=1, help="machines of one run, in a Slurm job")
    parser.add_argument(
        "--sync-batchnorm",
        type=bool,
        default=True,
        help="batch norm over the whole batch, on however many devices it lies, so that their number changes no result; "
        "false: each over its own part, which is faster, and another setting of the study",
    )
    parser.add_argument("--accelerator", type=Accelerator, default="auto", help="auto is gpu where there is one, else cpu")
    parser.add_argument("--wandb", type=WandbMode, default="auto", help="auto is online for those logged in, else offline")
    parser.add_argument(
        "--diagnostics", type=int, default=20, help="how often in a run the weights of each stage are looked at; 0 is never"
    )
    parser.add_argument(
        "--checkpoint-minutes",
        type=float,
        default=10.0,
        help="from one checkpoint of a run to the next, from the last of which it goes on when it was interrupted; 0 is before every step",
    )
    return parser


def _working_parser(function: StudyFunction) -> ArgumentParser:
    parser = _training_parser(function)
    parser.add_argument("--retries", type=int, default=0, help="how often a run that fails is tried again")
    return parser


def _launch_parser(function: StudyFunction) -> ArgumentParser:
    parser = _working_parser(function)
    parser.add_argument("--launcher", type=Slurm, default=None, help="the cluster, Slurm; its own flags follow")
    parser.add_argument("--dry-run", action="store_true", help="show the script that sbatch would get, and what it runs; do nothing")
    return parser


def _cancelling_parser() -> ArgumentParser:
    parser = _reading_parser()
    parser.add_argument("--dry-run", action="store_true", help="list the jobs; do nothing")
    return parser


def _run_parser(function: StudyFunction) -> ArgumentParser:
    parser = _working_parser(function)
    parser.add_argument("--jobs", type=int | None, default=None, help="runs at a time; default: one a GPU, or one")
    parser.add_argument("--dry-run", action="store_true", help="list the runs and the commands that reproduce them; do nothing")
    return parser


def _reading_parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    _add_place(parser)
    return parser


def _comparison_parser() -> ArgumentParser:
    parser = _reading_parser()
    parser.add_argument(
        "--metric",
        type=str | None,
        default=None,
        help="such as test/miou, test/rare_miou, val/dice, gap/miou, test/iou/CLASS, cost/seconds",
    )
    parser.add_argument("--classes", action="store_true", help="each class too, from frequent to rare")
    parser.add_argument("--baseline", type=str | None, default=None, help="another arm to compare all others with")
    parser.add_argument(
        "--margin", type=float | None, default=None, help="largest difference that counts as none, in the metric's unit (0.005)"
    )
    return parser


def _add_place(parser: ArgumentParser) -> None:
    parser.add_argument("--root", type=str, default="runs", help="the folder of all studies")
    parser.add_argument("--name", type=str | None, default=None, help="the study's folder in it; default: the study's name")


def study_parameters(function: StudyFunction, given: Namespace) -> Namespace:
    names = [action.dest for action in study_parser(function)._actions if action.dest != "help"]
    return Namespace({name: given[name] for name in dict.fromkeys(name.split(".")[0] for name in names) if name in given})  # type: ignore[no-untyped-call]


def study_parser(function: StudyFunction) -> ArgumentParser:
    """Return a parser whose flags are the parameters of a study function: those of its data as `--data.source` and `--data.NAME`."""
    parser = ArgumentParser(exit_on_error=False)
    data = {name: parameter for name, parameter in inspect.signature(function).parameters.items() if _is_data(parameter)}
    parser.add_function_arguments(function, as_group=False, fail_untyped=True, skip=set(data))
    for name, parameter in data.items():
        flags = parser.add_class_arguments(SegmentationDataModule, name)
        if isinstance(parameter.default, SegmentationDataModule):
            parser.set_defaults({flag: getattr(parameter.default, flag.removeprefix(f"{name}.")) for flag in flags})
    return parser


def _is_data(parameter: inspect.Parameter) -> bool:
    """Return whether a parameter is a data module, by its annotation, which is text in files with `from __future__ import annotations`."""
    annotation = parameter.annotation
    return annotation is SegmentationDataModule or str(annotation).rpartition(".")[2] == SegmentationDataModule.__name__


def resolved_flags(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Return parameters as the flags that reproduce them: a class by its path, then each of its own by `--name.parameter`."""
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
