"""An experiment script: what its verbs do, `run`, `launch`, `status`, `cancel` and `compare`."""

import dataclasses
import json
import math
import os
import sys
from argparse import ArgumentError
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from rich.console import Console

from seglab.cluster.cluster import Cluster, Needs
from seglab.cluster.here import cluster_here
from seglab.cluster.nodes import check_reachable, job_with_nodes
from seglab.interruption import INTERRUPTED, Interrupted, Interruption
from seglab.records import read_record
from seglab.running.execute import Resources, execute
from seglab.running.local import Local
from seglab.running.plan import Plan, dry_run_table, shell
from seglab.running.worker import end_with_worker, work, write_failure
from seglab.script.errors import one_line
from seglab.script.parser import StudyFunction, parser_of, resolved_flags, study_parameters, study_parser
from seglab.script.reading import show_comparison, show_status, tuning_folder
from seglab.script.submit import cancel, preview, submit
from seglab.script.supervise import supervise
from seglab.script.tuning import final_plan, stages_of, tune, tuning_plan
from seglab.study.study import Study

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
    parser = parser_of(function)
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
    if plan.resources.num_nodes > 1:
        job_with_nodes(plan.resources.num_nodes)
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
    """Submit the first stage that is not done: a study whose arms are tuned is launched twice."""
    stages = stages_of(plan)
    stage = next((stage for stage in stages if stage.unsettled), stages[-1])
    resources = plan.resources
    chosen: Cluster = cluster_here() if given.launcher is None else given.launcher
    cluster = chosen.for_run(Needs(resources.devices, resources.num_nodes, cpu=resources.accelerator == "cpu"))
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
            os.environ.update(job_with_nodes(plan.resources.num_nodes).ranks())  # Lightning reads them
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
    parameters = study_parameters(function, given)
    flags = resolved_flags(json.loads(study_parser(function).dump(parameters, format="json", skip_unset=False)))
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
    parser = study_parser(function)
    study: Study = function(**vars(parser.instantiate(parser.parse_args([]))))
    return study.name


def _gpus(resources: Resources) -> int:
    """How many GPUs the runs may share; a ValueError if they are fewer than one run asks for."""
    import torch

    gpus = 0 if resources.accelerator == "cpu" else torch.cuda.device_count()
    if resources.accelerator == "gpu" and gpus == 0 and not torch.backends.mps.is_available():
        raise ValueError("--accelerator gpu: PyTorch finds no GPU on this machine; choose cpu, or auto")
    if 0 < gpus < resources.devices:
        raise ValueError(f"--devices {resources.devices}: PyTorch finds {gpus} on this machine; choose fewer, or --accelerator cpu")
    return gpus
