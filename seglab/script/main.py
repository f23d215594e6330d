"""Verbs of an experiment script: `run`, `launch`, `status`, `cancel`, `compare`, and the internal verbs that `run` and jobs start."""

import os
import sys
from argparse import ArgumentError
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

from seglab.cluster.cluster import Cluster, Needs
from seglab.cluster.here import cluster_here
from seglab.cluster.nodes import check_reachable, job_with_nodes
from seglab.exit_codes import BAD_INPUT, DONE, FAILED, INTERRUPTED
from seglab.interruption import Interrupted, Interruption
from seglab.running.execute import execute
from seglab.running.job import EvaluatedSplit
from seglab.running.local import Local
from seglab.running.plan import Plan, Selection
from seglab.running.retest import recorded, retest
from seglab.running.worker import end_with_worker, work, write_failure
from seglab.script.dry_run import dry_run_table, print_runs
from seglab.script.errors import one_line
from seglab.script.parser import StudyFunction, parser_of
from seglab.script.reading import Wanted, show_comparison, show_status, tuning_folder
from seglab.script.request import default_name, plan_of
from seglab.script.submit import cancel, preview, submit
from seglab.script.supervise import supervise
from seglab.script.tuning import final_plan, stages_of, tune, tuning_plan
from seglab.script.words import instantiate, parse

READING = ("status", "cancel", "compare")
"""Verbs that train nothing and build no study."""

LISTENING = ("work", "work-tuning", "execute")
"""Verbs that save a checkpoint when their process is asked to stop. `run` and the jobs of a cluster start these verbs."""


def main(function: StudyFunction) -> None:
    """Run an experiment script: parse its command line, do what it asks and exit.

    The exit code is one of `seglab.exit_codes`: 0 done, 1 a run failed, 2 bad input (one line names it), 75 interrupted and ready to
    continue.
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
    chosen = parse(parser, sys.argv[1:])
    verb: str = chosen.command
    given = chosen[verb]
    console = Console(width=None if sys.stdout.isatty() else 120)
    if verb in READING:
        return _read(verb, Path(given.root) / (given.name or default_name(function)), given, console)
    interruption = Interruption()
    if verb in LISTENING:
        interruption.listen()
    built = instantiate(parser, chosen)[verb]
    plan = plan_of(function, given, built)
    match verb:
        case "run":
            if built.full and not built.dry_run:
                raise ValueError("--full: shows complete commands with --dry_run; add --dry_run")
            if built.jobs is not None and built.jobs < 1:
                raise ValueError(f"--jobs {built.jobs}: must be 1 or more")
            if built.dry_run:
                print_runs(stages_of(plan), full=built.full)
                return DONE
            return _run(plan, built.jobs, console)
        case "launch":
            return _launch(plan, built.launcher, built.dry_run, console)
        case "work":
            return _work(final_plan(plan), interruption)
        case "work-tuning":
            return _work(tuning_plan(plan), interruption)
        case "retest":
            return _retest(plan, built.split, console)
    return _execute(plan, interruption)


def _read(verb: str, folder: Path, given: Namespace, console: Console) -> int:
    """Do a verb that trains nothing."""
    if verb == "status":
        return show_status(folder, console)
    if verb == "compare":
        return show_comparison(folder, Wanted(given.metric, given.baseline, given.margin, given.classes), console)
    places = [place for place in (folder, tuning_folder(folder)) if place is not None]
    ended = [cancel(place, given.dry_run, console) for place in places]
    show_status(folder, console)
    return DONE if all(ended) else FAILED


def _run(plan: Plan, jobs: int | None, console: Console) -> int:
    """Bring the plan's runs to a result on this machine, `jobs` runs at a time, then compare the study."""
    if plan.resources.num_nodes > 1:
        job_with_nodes(plan.resources.num_nodes)
    gpus = plan.resources.shared_gpus()
    if jobs is None:
        jobs = max(1, gpus // plan.resources.devices)
    launcher = Local(gpus, plan.resources.devices)
    if plan.selection.setting is not None:
        return DONE if supervise(tuning_plan(plan), launcher, jobs, console) else FAILED
    tuned = plan.study.budget is None or plan.selection.seed is not None or tune(plan, launcher, jobs, console)
    plan = final_plan(plan)
    if not plan.runs:
        return FAILED
    complete = supervise(plan, launcher, jobs, console) and tuned
    if plan.selection == Selection():
        _compare(plan, complete, console)
    return DONE if complete else FAILED


def _compare(plan: Plan, complete: bool, console: Console) -> None:
    """Print the comparison of the study. If the runs are not `complete` and no comparison is possible, print the reason."""
    console.print()
    try:
        show_comparison(plan.folder, Wanted(), console)
    except ValueError as error:
        if complete:
            raise
        console.print(f"no comparison: {one_line(error)}", highlight=False, markup=False)


def _launch(plan: Plan, launcher: Cluster | None, dry_run: bool, console: Console) -> int:
    """Submit the first unfinished stage of the study to the cluster. A study with tuned arms has two stages, and is launched twice."""
    stages = stages_of(plan)
    stage = next((stage for stage in stages if stage.unsettled), stages[-1])
    resources = plan.resources
    chosen: Cluster = cluster_here() if launcher is None else launcher
    cluster = chosen.for_run(Needs(resources.devices, resources.num_nodes, cpu=resources.accelerator == "cpu"))
    if dry_run:
        print(dry_run_table(stage, stage.runs))
        print(preview(stage, cluster), end="")
        return DONE
    submit(stage, cluster, console)
    if stage is not stages[-1]:
        console.print("these runs choose the settings; when they are done, the same command again launches the study's own")
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
