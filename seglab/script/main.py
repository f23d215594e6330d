"""Verbs of an experiment script: `run`, `launch`, `status`, `cancel`, `compare`, and internal verbs.

`run` and jobs start the internal verbs.
"""

import atexit
import functools
import gc
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

from seglab.cluster.cluster import Cluster, Needs
from seglab.cluster.here import cluster_here
from seglab.cluster.nodes import check_reachable, job_with_nodes
from seglab.dashboard.notices import at_end
from seglab.exit_codes import DONE, ELSEWHERE, FAILED
from seglab.garbage import collect_as_usual
from seglab.interruption import Interrupted, Interruption
from seglab.running.ahead import imports_of_a_worker
from seglab.running.execute import execute
from seglab.running.forks import ForkServer
from seglab.running.job import EvaluatedSplit
from seglab.running.local import Local
from seglab.running.network import check_compiler
from seglab.running.plan import Plan, Selection, agreed_record, check_shared
from seglab.running.profile import process_started
from seglab.running.retest import recorded, retest
from seglab.running.status import count
from seglab.running.threads import workers_on
from seglab.running.worker import end_with_worker, work, write_failure
from seglab.script.command_line import parse
from seglab.script.dry_run import dry_run_table, print_runs
from seglab.script.errors import exit_code, one_line
from seglab.script.finished import record_finished, show_comparison_once
from seglab.script.inherited import forget_other_launchers
from seglab.script.parser import StudyFunction, parser_of
from seglab.script.preflight import check_request, check_training
from seglab.script.profile import Times, parts_of, show_profile, unfinished
from seglab.script.reading import READING, Wanted, read, show_comparison, terminal
from seglab.script.reading_sets import read_all, show_sets
from seglab.script.request import default_names, plans_of, start_words
from seglab.script.streams import prepare_streams
from seglab.script.submit import preview, submit
from seglab.script.supervise import supervise
from seglab.script.tuning import final_plan, stages_of, tune, tuning_plan
from seglab.tracking import not_followed, resolved_mode
from seglab.wandb_variables import drop_unusable_wandb

WORKING = ("work", "work-tuning")
"""Verbs of a worker."""

LISTENING = (*WORKING, "execute")
"""Verbs that save a checkpoint when their process is asked to stop. `run` and the jobs of a cluster start these
verbs.
"""


def main(function: StudyFunction, name: str | None = None) -> None:
    """Run an experiment script: parse its command line, do what it asks and exit.

    Args:
        function: returns the study, or a list with one for each data set; its parameters are flags.
        name: the name of the study that the function returns by default. It makes `status`, `cancel` and `compare` fast
            if the function computes the name; they read a name in quotes from the script's text (see
            `script/early.py`). If a parameter has no default, a computed name is unknown to them without it.

    The exit code is one of `seglab.exit_codes`. Bad input, and an error in the script, end with one line on stderr.
    """
    prepare_streams()
    collect_as_usual()
    atexit.register(gc.freeze)  # else the collection at the end looks at all objects of torch and Lightning, which takes a second
    drop_unusable_wandb()
    sys.path.insert(0, str(Path.cwd()))  # a user's own classes, by import path from the working directory
    sys.exit(exit_code(lambda: _dispatch(function, name)))


def _dispatch(function: StudyFunction, name: str | None) -> int:
    if not callable(function):
        raise ValueError(
            f"main got a {type(function).__name__}; expected the function that returns it: write main(study), not main(study())"
        )
    parser = parser_of(function)
    chosen = parse(parser, sys.argv[1:])
    verb: str = chosen.command
    given = chosen[verb]
    if verb in READING:
        names = default_names(function, name) if given.name is None else [given.name]
        return read(verb, names[0], given) if len(names) == 1 else read_all(verb, names, given)
    if verb in ("run", "launch") and (line := not_followed(os.environ)) is not None:
        print(line, file=sys.stderr)
    if verb != "execute":
        forget_other_launchers()
    forks = None
    if verb == "run" and not given.dry_run:  # before anything is computed, and before the study function is called
        become = functools.partial(exit_code, lambda: _dispatch(function, name))
        forks = ForkServer.started(start_words(), become, imports_of_a_worker(given.wandb))
    console = terminal()
    interruption = Interruption()
    if verb in LISTENING:
        interruption.listen()
    if verb in WORKING:
        interruption.stop_with_parent()
    if sys.flags.optimize > 1:
        raise ValueError("python -OO removes docstrings, which segmentation-models-pytorch needs: start without -OO and PYTHONOPTIMIZE=2")
    built = parser.instantiate(chosen)[verb]
    plans = plans_of(function, given, built, name)
    match verb:
        case "run":
            if built.full and not built.dry_run:
                raise ValueError("--full: shows complete commands with --dry_run; add --dry_run")
            _check_counts(built)
            for plan in plans if built.dry_run else ():
                stages = stages_of(plan)
                _check(stages)
                print_runs(stages, full=built.full)
            return DONE if built.dry_run else _run_all(plans, built, forks, console)
        case "launch":
            _check_counts(built)
            return max(_launch(plan, built, console) for plan in plans)
    if len(plans) > 1:
        raise ValueError(f"{verb} is for one study: choose one of {', '.join(plan.study.name for plan in plans)} with --name")
    (plan,) = plans
    match verb:
        case "work":
            return _work(final_plan(plan), interruption)
        case "work-tuning":
            return _work(tuning_plan(plan), interruption)
        case "retest":
            return _retest(plan, built.split, console)
    return _execute(plan, interruption)


def _check_counts(given: Namespace) -> None:
    """Raise a ValueError if the flags that say how many runs work at a time are wrong."""
    jobs = given.get("jobs")  # a flag of `run` alone
    for flag, number in (("jobs", jobs), ("runs_per_device", given.runs_per_device)):
        if number not in (None, "auto") and number < 1:
            raise ValueError(f"--{flag} {number}: must be 1 or more")
    if None not in (jobs, given.runs_per_device):
        raise ValueError(f"--jobs {jobs} --runs_per_device {given.runs_per_device}: give one of them, both say how many runs")


def _run_all(plans: Sequence[Plan], given: Namespace, forks: ForkServer | None, console: Console) -> int:
    """Do `_run` for each study of the script, and compare them over their data sets if there are several."""
    for plan in plans:
        plan.resources.check_precision(plan.study, on_gpu=plan.resources.on_gpu)
        check_compiler(plan.study, on_gpu=plan.resources.on_gpu)
    for plan in plans if len(plans) > 1 else ():
        for stage in stages_of(plan):
            agreed_record(stage)  # a study that cannot be done is refused before the first one has taken its hours
    codes = [_run(plan, given, forks, console) for plan in plans]
    code = next(code for code in (FAILED, ELSEWHERE, DONE) if code in codes)
    if len(plans) > 1 and plans[0].selection == Selection():
        console.print()
        try:
            show_sets([plan.folder for plan in plans], Wanted(), console)
        except ValueError as error:
            if code == DONE:
                raise
            console.print(f"no comparison over data sets: {one_line(error)}", highlight=False, markup=False)
    if forks is not None:
        forks.wait()
    return code


def _run(plan: Plan, given: Namespace, forks: ForkServer | None, console: Console) -> int:
    """Bring the plan's runs to a result on this machine, then compare the study.

    `given` are the flags, and `forks` starts the workers.
    """
    began = time.time()
    if plan.resources.num_nodes > 1:
        job_with_nodes(plan.resources.num_nodes)
    gpus, devices, wait = plan.resources.shared_gpus(), plan.resources.devices, given.wait
    jobs: int | None = None
    if given.runs_per_device != "auto":
        jobs = workers_on(gpus, devices, given.runs_per_device) if given.jobs is None else given.jobs
    elif gpus == 0:
        raise ValueError("--runs_per_device auto: measures the memory of a GPU, and the runs compute on the CPU; give a number of runs")
    launcher = Local(gpus, devices, forks)
    if plan.selection.setting is not None:
        check_shared(plan)
        return supervise(tuning_plan(plan), launcher, jobs, console, wait=wait)
    tunes = plan.study.budget is not None and plan.selection.seed is None
    codes = [tune(plan, launcher, jobs, console, wait=wait)] if tunes else []
    plan = final_plan(plan)
    if plan.runs:
        idle = not plan.unsettled
        codes.append(supervise(plan, launcher, jobs, console, wait=wait))
        trained = time.time()
        if plan.selection == Selection():
            _compare(plan, set(codes) == {DONE}, idle, console)
        if plan.resources.profile:
            directories = [run.directory(stage.folder) for stage in stages_of(plan) for run in stage.runs]
            times = Times(process_started(), began, trained, time.time())
            show_profile(*parts_of(directories, times), console)
            if lost := unfinished(directories, times):
                line = f"{count(lost, 'run')} failed or stopped, without a profile: the rows of the workers or of the checks hold this time"
                console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)
    for line in at_end(plan.folder, resolved_mode(plan.resources.wandb)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return next(code for code in (FAILED, ELSEWHERE, DONE) if code in codes)


def _check(stages: Sequence[Plan]) -> None:
    """Check all that is checked before anything is written. Standard output is left to the list of the runs."""
    console = Console(stderr=True)
    for stage in stages:
        agreed = check_request(stage, console) if stage.runs else None
        if agreed is not None and stage.unsettled:
            check_training(stage, agreed, console)


def _compare(plan: Plan, complete: bool, idle: bool, console: Console) -> None:
    """Print the comparison of the study, unless it was printed before the imports and this process has done no run
    since.

    If the runs are not `complete` and no comparison is possible, print the reason.
    """
    try:
        if idle:
            show_comparison_once(plan.folder)
        else:
            console.print()
            show_comparison(plan.folder, Wanted(), console)
        if complete:
            record_finished(plan.folder, sys.argv[1:])
    except ValueError as error:
        if complete:
            raise
        console.print(f"no comparison: {one_line(error)}", highlight=False, markup=False)


def _launch(plan: Plan, given: Namespace, console: Console) -> int:
    """Submit the first unfinished stage of the study to the cluster.

    A study with tuned arms has two stages, and is launched twice.
    """
    stages = stages_of(plan)
    stage = next((stage for stage in stages if stage.unsettled), stages[-1])
    resources = plan.resources
    workers = 1 if given.runs_per_device is None else given.runs_per_device
    if workers > 1 and resources.num_nodes > 1:
        raise ValueError(
            f"--runs_per_device {workers} --num_nodes {resources.num_nodes}: runs on several nodes share no GPU; leave one out"
        )
    chosen: Cluster = cluster_here() if given.launcher is None else given.launcher
    cluster = chosen.for_run(Needs(resources.devices, resources.num_nodes, cpu=resources.accelerator == "cpu", runs=workers))
    if given.dry_run:
        _check([stage])
        print(dry_run_table(stage, stage.runs))
        print(preview(stage, cluster, workers), end="")
        return DONE
    submit(stage, cluster, workers, console)
    if stage is not stages[-1]:
        console.print(
            "these runs choose the settings; when they are done, the same command again launches the next round, or the study's own runs"
        )
    return DONE


def _work(plan: Plan, interruption: Interruption) -> int:
    """Work on the plan's runs until none is left."""
    return FAILED if work(plan.jobs(), interruption) else DONE


def _execute(plan: Plan, interruption: Interruption) -> int:
    """Do one run on several devices. This process is one of the ranks."""
    if plan.selection.arm is None or plan.selection.seed is None:
        raise ValueError("execute is for one run: name it with --arm and --seed")
    (job,) = (final_plan(plan) if plan.selection.setting is None else tuning_plan(plan)).jobs()
    end_with_worker()
    try:
        if plan.resources.num_nodes > 1:
            check_reachable()
            os.environ.update(job_with_nodes(plan.resources.num_nodes).ranks())  # Lightning reads them
        execute(job, interruption)
    except Interrupted:
        if plan.resources.is_first_process:
            raise
        return DONE  # Lightning kills the first process of a run when another ends with any other code
    except Exception as error:  # noqa: BLE001 - any failure is written into the folder of the run
        write_failure(job.directory, error, job.study.data.batch_size)
        return FAILED
    return DONE


def _retest(plan: Plan, split: EvaluatedSplit, console: Console) -> int:
    """Evaluate the weights of one run again, and show the new scores beside the scores of its result."""
    if plan.selection.setting is not None and split == "test":
        raise ValueError(
            f"arm {plan.selection.arm}, setting {plan.selection.setting}: is a tuning run, which is never scored on the test split; "
            "`seglab validate` with its folder, or --split val, evaluates it on the validation split"
        )
    (job,) = (final_plan(plan) if plan.selection.setting is None else tuning_plan(plan)).jobs()
    result = recorded(job)
    before = result.means[split]
    table = Table(title=f"{job.run.name}: {split}", title_justify="left")
    for heading in ("score", "result.json", "now"):
        table.add_column(heading, justify="left" if heading == "score" else "right")
    for name, value in retest(job, split).items():
        table.add_row(name, f"{before[name]:.6f}" if name in before else "", f"{value:.6f}")
    console.print(table)
    return DONE
