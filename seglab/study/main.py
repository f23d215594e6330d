"""The command line of an experiment script: `run`, `launch`, `status`, `cancel` and `compare`, with the study function's parameters as flags."""

import dataclasses
import json
import math
import sys
from argparse import ArgumentError
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings
from rich.console import Console

from seglab.interruption import INTERRUPTED, Interrupted, Interruption
from seglab.run import read_record
from seglab.study.errors import one_line
from seglab.study.execute import Accelerator, Resources, execute
from seglab.study.launch import Local
from seglab.study.nodes import check_nodes, check_reachable
from seglab.study.plan import Plan, dry_run_table, shell
from seglab.study.reading import show_comparison, show_status, tuning_folder
from seglab.study.slurm import Slurm
from seglab.study.study import Study
from seglab.study.submit import cancel, preview, submit
from seglab.study.supervise import supervise
from seglab.study.tuning import final_plan, stages_of, tune, tuning_plan
from seglab.study.worker import end_with_worker, work, write_failure
from seglab.tracking import WandbMode

StudyFunction = Callable[..., Study]

FAILED = 1
BAD_INPUT = 2


def main(function: StudyFunction) -> None:
    """Run an experiment script: parse its command line, do what it asks and exit.

    Exit codes: 0 done, 1 a run failed, 2 bad input (one line says which), 75 interrupted and ready to go on.
    """
    sys.path.insert(0, str(Path.cwd()))  # a user's own classes, by import path from the working directory
    try:
        sys.exit(_dispatch(function))
    except (ValueError, ArgumentError, ImportError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except (KeyboardInterrupt, Interrupted):
        print("interrupted; the same command again goes on", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _dispatch(function: StudyFunction) -> int:
    parser = _parser(function)
    chosen = parser.parse_args()
    verb: str = chosen.command
    given = chosen[verb]
    console = Console(width=None if sys.stdout.isatty() else 120)
    if verb in ("status", "cancel", "compare"):
        return _read(verb, Path(given.root) / (given.name or _default_name(function)), given, console)
    interruption = Interruption()
    if verb in ("work", "work-tuning", "execute"):
        interruption.listen()
    built = parser.instantiate(chosen)[verb]
    plan = _plan(function, given, built)
    if verb in ("run", "launch"):
        return {"run": _run, "launch": _launch}[verb](plan, built, console)
    return {"work": _work, "work-tuning": _work_tuning, "execute": _execute}[verb](plan, interruption)


def _read(verb: str, folder: Path, given: Namespace, console: Console) -> int:
    """What trains nothing."""
    if verb == "status":
        return show_status(folder, console)
    if verb == "compare":
        return show_comparison(folder, given.metric, given.baseline, given.margin, console, given.classes)
    places = [place for place in (folder, tuning_folder(folder)) if place is not None]
    ended = [cancel(place, given.dry_run, console) for place in places]
    show_status(folder, console)
    return 0 if all(ended) else FAILED


def _run(plan: Plan, given: Namespace, console: Console) -> int:
    if given.dry_run:
        return _dry_run(plan)
    gpus = _gpus(plan.resources)
    if given.jobs is not None and given.jobs < 1:
        raise ValueError(f"--jobs {given.jobs}: must be 1 or more")
    jobs = given.jobs if given.jobs is not None else max(1, gpus // plan.resources.devices)
    launcher = Local(gpus, plan.resources.devices)
    if plan.setting is not None:
        return 0 if supervise(tuning_plan(plan), launcher, jobs, console) else FAILED
    tuned = plan.study.budget is None or plan.seed is not None or tune(plan, launcher, jobs, console)
    plan = final_plan(plan)
    if not plan.runs:
        return FAILED
    complete = supervise(plan, launcher, jobs, console) and tuned
    if plan.arm is None and plan.seed is None:
        console.print()
        try:
            show_comparison(plan.folder, None, None, None, console)
        except ValueError as error:
            if complete:
                raise
            console.print(f"no comparison: {one_line(error)}", highlight=False, markup=False)
    return 0 if complete else FAILED


def _dry_run(plan: Plan) -> int:
    stages = [(stage, stage.all_runs) for stage in stages_of(plan)]
    for stage, runs in stages:
        print(dry_run_table(stage, runs))
    for stage, runs in stages:
        for run in runs:
            print(shell(stage.command(run)))
    return 0


def _launch(plan: Plan, given: Namespace, console: Console) -> int:
    """What comes first and is not done yet goes to the cluster: a study whose arms are tuned is launched twice."""
    stages = stages_of(plan)
    stage = next((stage for stage in stages if stage.unsettled), stages[-1])
    cluster: Slurm = (given.launcher or Slurm()).for_runs_on(
        plan.resources.devices, plan.resources.num_nodes, cpu=plan.resources.accelerator == "cpu"
    )
    if given.dry_run:
        print(dry_run_table(stage, stage.runs))
        print(preview(stage, cluster), end="")
        return 0
    submit(stage, cluster, console)
    if stage is not stages[-1]:
        console.print("these runs choose the settings; when they are done, the same command again launches the study's own")
    return 0


def _work(plan: Plan, interruption: Interruption) -> int:
    return _work_on(final_plan(plan), interruption)


def _work_tuning(plan: Plan, interruption: Interruption) -> int:
    return _work_on(tuning_plan(plan), interruption)


def _work_on(plan: Plan, interruption: Interruption) -> int:
    tuning = plan.tunes is not None
    failures = work(plan.study, plan.runs, plan.folder, _record(plan), plan.command, plan.resources, interruption, plan.retries, tuning)
    return FAILED if failures else 0


def _execute(plan: Plan, interruption: Interruption) -> int:
    """One run as a process of its own, several of them when it has several devices."""
    if plan.arm is None or plan.seed is None:
        raise ValueError("execute is for one run: name it with --arm and --seed")
    plan = final_plan(plan) if plan.setting is None else tuning_plan(plan)
    (run,) = plan.runs
    end_with_worker()
    try:
        if plan.resources.num_nodes > 1:
            check_reachable()
        execute(plan.study, run, plan.folder, _record(plan), plan.command(run), plan.resources, interruption, test=plan.tunes is None)
    except Interrupted:
        if plan.resources.is_first_process:
            raise
        return 0  # Lightning kills the first process of a run when another ends with any other code
    except Exception as error:  # noqa: BLE001 - whatever it was, it is written beside the run
        write_failure(run.directory(plan.folder), error, plan.study.data.batch_size)
        return FAILED
    return 0


def _record(plan: Plan) -> Any:
    found = read_record(plan.folder)
    if found is None:
        raise ValueError(f"{plan.folder}: has no study.json; `run` writes it")
    return found


def _plan(function: StudyFunction, given: Namespace, built: Namespace) -> Plan:
    """`given` as it was typed, `built` with its classes made."""
    parameters = _study_parameters(function, given)
    flags = resolved_flags(json.loads(_study_parser(function).dump(parameters, format="json", skip_unset=False)))
    study = function(**{name: built[name] for name in vars(parameters)})
    if given.name is not None:
        study = dataclasses.replace(study, name=given.name)
    if given.devices < 1:
        raise ValueError(f"--devices {given.devices}: must be 1 or more")
    if given.diagnostics < 0:
        raise ValueError(f"--diagnostics {given.diagnostics}: must be 0 (never) or more")
    if not 0 <= given.checkpoint_minutes < math.inf:
        raise ValueError(f"--checkpoint-minutes {given.checkpoint_minutes}: must be 0 (before every step) or more")
    if given.num_nodes < 1:
        raise ValueError(f"--num-nodes {given.num_nodes}: must be 1 or more")
    resources = Resources(
        given.devices,
        given.accelerator,
        given.wandb,
        given.diagnostics,
        given.checkpoint_minutes,
        given.num_nodes,
        given.sync_batchnorm,
    )
    if given.setting is not None and study.budget is None:
        raise ValueError(f"--setting {given.setting}: the arms of {study.name!r} are not tuned")
    retries = given.get("retries", 0)
    if retries < 0:
        raise ValueError(f"--retries {retries}: must be 0 or more")
    return Plan(study, Path(given.root), sys.argv[0], flags, resources, given.arm, given.seed, given.setting, retries=retries)


def _default_name(function: StudyFunction) -> str:
    """The name of the study with all its defaults, for those who read and do not train."""
    parser = _study_parser(function)
    study: Study = function(**vars(parser.instantiate(parser.parse_args([]))))
    return study.name


def resolved_flags(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Parameters as flags: a class by its path, then each of its own by `--name.parameter`."""
    words: list[str] = []
    for name, value in parameters.items():
        if isinstance(value, Mapping) and "class_path" in value:
            words += [
                f"--{name}",
                value["class_path"],
                *resolved_flags({f"{name}.{key}": item for key, item in value.get("init_args", {}).items()}),
            ]
        else:
            words += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    return tuple(words)


def _study_parameters(function: StudyFunction, given: Namespace) -> Namespace:
    names = [action.dest for action in _study_parser(function)._actions if action.dest != "help"]
    return Namespace({name: given[name] for name in dict.fromkeys(name.split(".")[0] for name in names) if name in given})  # type: ignore[no-untyped-call]


def _study_parser(function: StudyFunction) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(function, as_group=False, fail_untyped=True)
    return parser


def _parser(function: StudyFunction) -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    module = sys.modules[function.__module__]
    parser = ArgumentParser(description=module.__doc__, exit_on_error=False)
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
    parser = _study_parser(function)
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


def _gpus(resources: Resources) -> int:
    """How many GPUs the runs may share; a ValueError if they are fewer than one run asks for."""
    import torch

    if resources.num_nodes > 1:
        check_nodes(resources.num_nodes)
    gpus = 0 if resources.accelerator == "cpu" else torch.cuda.device_count()
    if resources.accelerator == "gpu" and gpus == 0 and not torch.backends.mps.is_available():
        raise ValueError("--accelerator gpu: PyTorch finds no GPU on this machine; choose cpu, or auto")
    if 0 < gpus < resources.devices:
        raise ValueError(f"--devices {resources.devices}: PyTorch finds {gpus} on this machine; choose fewer, or --accelerator cpu")
    return gpus
