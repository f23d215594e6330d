"""Supervise `run`: show the unfinished runs, their progress, their scores and their failures."""

import dataclasses
import time
from collections.abc import Collection, Sequence
from functools import cache
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from seglab.dashboard.notices import Answer, at_start
from seglab.exit_codes import DONE, ELSEWHERE, FAILED, INTERRUPTED
from seglab.files import is_full
from seglab.interruption import Interrupted
from seglab.records import Run, StudyRecord, read_record, read_result
from seglab.running import ledger
from seglab.running.declared import idle_amendment, new_declaration
from seglab.running.ledger import forget_failures
from seglab.running.local import Ended, Launcher
from seglab.running.plan import Plan, save_record
from seglab.running.sharing import Machine, needed_mib, runs_per_device, why
from seglab.running.status import Clock, RunStatus, count, duration, fraction_done, run_status
from seglab.running.threads import workers_on
from seglab.script.preflight import check_request, check_training
from seglab.tracking import resolved_mode

POLL_SECONDS = 2.0
"""Time between two looks at the runs of other processes."""

MOST_NAMES = 8
"""Largest number of runs that a line names."""


def supervise(plan: Plan, launcher: Launcher, jobs: int | None, console: Console, *, wait: bool = False) -> int:
    """Bring all runs of the plan to a result.

    Args:
        plan: the runs.
        launcher: starts the workers.
        jobs: number of workers; None for as many as the memory of the GPUs holds.
        console: where the progress is shown.
        wait: whether to wait for runs that other processes work on, and to do those that they leave without a result.

    Returns:
        DONE if all runs are settled, ELSEWHERE if other processes work on all runs that are not, else FAILED.

    Raises:
        ValueError: the request cannot be done; nothing has been written.
        Interrupted: a worker was asked to stop.
    """
    todo = prepare(plan, console, wait=wait)
    if todo:
        study = plan.study if plan.tunes is None else plan.tunes
        _say_once(at_start(resolved_mode(plan.resources.wandb), plan.root / study.name), console)
    if todo and jobs is None:
        jobs = _measured(plan, todo, launcher, console)
        todo = [run for run in todo if not plan.settled(run)]
    while todo and jobs is not None:
        _do(plan, todo, launcher, [plan.worker_command()] * min(jobs, len(todo)), console)
        todo = _left_by_others(plan, console) if wait else []
    return report_runs(plan, console)


def _measured(plan: Plan, todo: Sequence[Run], launcher: Launcher, console: Console) -> int:
    """Return the number of workers whose runs fit into the GPUs.

    If no run is done, do the first runs of the plan, one on each GPU, and measure them.
    """
    machine, devices, study = Machine.here(), plan.resources.devices, plan.root / plan.whole.name
    need = needed_mib((path.parent for path in study.rglob("result.json")), machine.gpu)
    held = _held(plan, todo)
    first = [run for run in todo if run not in held][: workers_on(machine.gpus, devices)]
    if need is None and first:
        console.print(f"auto: {count(len(first), 'run')} first, one at a time on each GPU, to measure its memory", highlight=False)
        alone = [dataclasses.replace(plan, selection=plan.only(run)).worker_command() for run in first]
        _do(plan, first, launcher, alone, console)
        need = needed_mib((run.directory(plan.folder) for run in first), machine.gpu)
    if need is None:
        console.print("auto: 1 run at a time on each GPU, as no run could be measured", highlight=False)
        return workers_on(machine.gpus, devices)
    console.print(why(need, machine), highlight=False)
    return workers_on(machine.gpus, devices, runs_per_device(need, machine))


def _do(plan: Plan, runs: Sequence[Run], launcher: Launcher, commands: Sequence[Sequence[str]], console: Console) -> None:
    """Start workers by `commands`, show the progress of `runs`, and report workers that ended abnormally.

    Raises:
        Interrupted: a worker was asked to stop.
    """
    ended = _launch(plan, runs, launcher, commands, console)
    _report_workers(ended, console)
    if INTERRUPTED in [worker.code for worker in ended]:
        raise Interrupted


@cache
def _say_once(line: str, console: Console) -> None:
    """Print a line, unless the console has it already.

    A tuned study has two stages, which are supervised one after the other.
    """
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def prepare(plan: Plan, console: Console, *, wait: bool = False) -> list[Run]:
    """Check the request, write the study's record, and return the runs to do.

    If `wait`, other processes may work on all of them.
    """
    agreed = check_request(plan, console)
    todo = plan.unsettled
    recorded = read_record(plan.folder)
    lines = new_declaration(recorded, agreed)
    if todo:
        if not wait:
            _check_free(plan, todo)
        check_training(plan, agreed, console)
    if todo or lines:
        save_record(plan, agreed)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if plan.amend is not None and plan.tunes is None and (idle := idle_amendment(recorded, agreed)):
        console.print(idle, style="yellow", highlight=False, markup=False, soft_wrap=True)
    if todo:
        _show_phases(agreed, {agreed.entry(run) for run in todo}, console)
        for run in todo:
            forget_failures(run.directory(plan.folder))
    return todo


def _check_free(plan: Plan, todo: Sequence[Run]) -> None:
    """Raise a ValueError if a single run is requested and another process works on it.

    If many runs are requested, the others are done.
    """
    if plan.selection.arm is not None and plan.selection.seed is not None and len(todo) == 1:
        directory = todo[0].directory(plan.folder)
        holder = ledger.owner(directory) if directory.exists() else None
        if holder is not None:
            raise ValueError(f"{todo[0].name}: {holder} is working on it; wait for its end (--wait), or stop it (kill {holder.pid} there)")


def _left_by_others(plan: Plan, console: Console) -> list[Run]:
    """Wait until other processes have settled their runs or have left some; return the runs that they left.

    A failed run is not left.
    """
    held = _held(plan, plan.unsettled)
    if held:
        console.print(f"waiting for {count(len(held), 'run')} that other processes work on", highlight=False)
    while held:
        time.sleep(POLL_SECONDS)
        still = _held(plan, held)
        left = [run for run in held if run not in still and not plan.settled(run)]
        if left := [run for run in left if ledger.state(run.directory(plan.folder)) != "failed"]:
            return left
        held = still
    return []


def _held(plan: Plan, runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if ledger.state(run.directory(plan.folder)) == "running"]


def _show_phases(record: StudyRecord, arms: Collection[str], console: Console) -> None:
    """Print the phases of each arm that has a freezing schedule: which stages train, and when."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("arm", "epochs", "trains", "parameters", "× learning rate"):
        table.add_column(heading, no_wrap=heading in ("epochs", "parameters"))
    for arm in (name for name in record.arms if name in arms):
        for place, phase in enumerate(record.arms[arm].get("display", {}).get("phases", ())):
            name = arm if place == 0 else ""
            table.add_row(name, phase["epochs"], phase["trains"], phase["parameters"], phase["lr factor"])
    if table.row_count:
        console.print(table)


def _launch(plan: Plan, todo: Sequence[Run], launcher: Launcher, commands: Sequence[Sequence[str]], console: Console) -> list[Ended]:
    """Start workers, and show a progress bar until all have ended."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=float(len(todo)), left="")
        waiting = set(todo)
        clock = Clock(0.0)
        online = todo if resolved_mode(plan.resources.wandb) == "online" else []
        answer = Answer(plan.folder if plan.tunes is None else plan.folder.parent, [run.directory(plan.folder) for run in online])

        def watch() -> None:
            if (line := answer.line()) is not None:
                bar.console.print(line, highlight=False, markup=False, soft_wrap=True)
            for run in [run for run in todo if run in waiting and plan.settled(run)]:
                waiting.discard(run)
                bar.console.print(_outcome(run, plan), highlight=False)
            done = len(todo) - len(waiting) + sum(fraction_done(run.directory(plan.folder)) for run in waiting)
            left = clock.left(done, len(todo))
            text = "" if left is None else f"{duration(left)} left"
            bar.update(task, completed=done, description=f"{len(todo) - len(waiting)} of {len(todo)} runs", left=text)

        return launcher.launch(commands, plan.folder / "logs", watch)


def _damaged(plan: Plan) -> list[str]:
    """Return a line for each run with a damaged result: what is wrong, and what to do."""
    lines = []
    for path in (run.directory(plan.folder) / "result.json" for run in plan.runs):
        try:
            if path.exists():
                read_result(path)
        except ValueError as error:
            lines.append(str(error))
    return lines


def _outcome(run: Run, plan: Plan) -> str:
    """Return a line with the score of a settled run."""
    directory = run.directory(plan.folder)
    if not (directory / "result.json").exists():
        return f"  {run.arm}, seed {run.seed}: has diverged"
    result = read_result(directory / "result.json")
    return f"  {run.arm}, seed {run.seed}: {plan.study.metric} {result.score(plan.study.metric):.4f} ({duration(result.cost['seconds'])})"


def _report_workers(ended: Sequence[Ended], console: Console) -> None:
    """Print a line for each worker that ended abnormally."""
    for slot, (code, log) in enumerate(ended):
        if code in (DONE, FAILED, INTERRUPTED):
            continue
        lines = log.read_text(errors="replace").strip().splitlines()
        why = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        console.print(f"worker {slot} {why}{': ' + lines[-1] if lines else ''} ({log})", style="red", highlight=False, markup=False)


def report_runs(plan: Plan, console: Console) -> int:
    """Print the runs without a readable result, in one line for each cause; return the exit code that follows."""
    statuses = [run_status(run, plan.folder) for run in plan.runs]
    left = {status.run: status.state for status in statuses if not plan.settled(status.run)}
    alike: dict[_Told, list[Run]] = {}
    for status in statuses:
        if (told := _told(status, settled=status.run not in left)) is not None:
            alike.setdefault(told, []).append(status.run)
    for told, runs in alike.items():
        more = f" and {count(len(runs) - MOST_NAMES, 'more run')}" if len(runs) > MOST_NAMES else ""
        names = ", ".join(run.name for run in runs[:MOST_NAMES]) + more
        log = f" ({runs[0].directory(plan.folder) / 'log.txt'})" if told.style == "red" else ""
        console.print(f"{told.what}: {names}{told.why}{log}", style=told.style, highlight=False, markup=False)
    damaged = _damaged(plan)
    for line in damaged:
        console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
    if left and is_full(plan.folder):  # a run cannot write this cause into its folder
        line = f"the disk of {plan.folder} is full: free some of it, and the same command goes on from the last checkpoints"
        console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
    return FAILED if damaged or any(state != "running" for state in left.values()) else ELSEWHERE if left else DONE


class _Told(NamedTuple):
    """Words on a run without a readable result."""

    what: str
    why: str
    style: str


def _told(status: RunStatus, *, settled: bool) -> _Told | None:
    if status.state == "failed":
        return _Told("diverged, which counts as the worst", "", "yellow") if settled else _Told("failed", f": {status.detail}", "red")
    if status.state == "done":
        return None if settled else _Told("not tested under all shifts", "", "red")
    if status.state == "running":
        return _Told("still running elsewhere", f", {status.detail}", "yellow")
    return _Told("not done", "; `run` again goes on", "yellow")
