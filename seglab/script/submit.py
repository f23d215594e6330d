"""`launch` and `cancel`, as the person who typed them sees them: what goes to the cluster, and what is left there."""

import os
import time
from pathlib import Path

from rich.console import Console

from seglab.cluster import jobs
from seglab.cluster.slurm import Slurm
from seglab.running.plan import Plan, shell
from seglab.script.supervise import count, prepare


def submit(plan: Plan, cluster: Slurm, console: Console) -> None:
    """Submit as many jobs as there are runs to do, fewer by those that are at it already."""
    cluster.check()
    todo = prepare(plan, console)
    if not todo:
        return
    command = plan.worker_command()
    before = jobs.submissions(plan.folder)
    there = jobs.in_queue(before)
    number = min(len(todo), cluster.jobs) - jobs.at_work(there, before, command)
    for line in jobs.lines(there):
        console.print(line, highlight=False, markup=False)
    if number <= 0:
        console.print("nothing submitted: the jobs in the queue do these runs", highlight=False)
        return
    sent = cluster.submit([command] * number, plan.folder / jobs.FOLDER / _stamp(), plan.study.name)
    first, last = sent.ids[0], sent.ids[-1]
    console.print(f"submitted {count(number, 'job')}: {first}{'' if number == 1 else f' to {last}'}", highlight=False)
    for line in (
        f"how it goes: {shell(['seglab', 'status', str(plan.folder)])}",
        f"what a job prints: {sent.log(first)}",
        f"what a run prints: {todo[0].directory(plan.folder) / 'log.txt'}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def preview(plan: Plan, cluster: Slurm) -> str:
    """The script that `submit` would give to sbatch, with the command that each job runs; empty if there is nothing to do."""
    number = min(len(plan.unsettled), cluster.jobs)
    if not number:
        return ""
    script = cluster.script(number, plan.folder / jobs.FOLDER / "TIME", plan.study.name)
    return f"{script}\n# each job runs\n# {shell(plan.worker_command())}\n"


def cancel(folder: Path, dry_run: bool, console: Console) -> bool:
    """Cancel what is in the queue for the study in `folder`; whether nothing is left there."""
    there = jobs.in_queue(jobs.submissions(folder))
    for line in jobs.lines(there):
        console.print(line, highlight=False, markup=False)
    if not there or dry_run:
        console.print(f"{folder}: {'would cancel ' + count(len(there), 'job') if there else 'no job is in the queue'}", highlight=False)
        return True
    left = jobs.cancel(there)
    console.print(f"{folder}: cancelled {count(len(there) - len(left), 'job')}", highlight=False)
    for line in jobs.lines(left):
        console.print(f"still there: {line}", style="yellow", highlight=False, markup=False)
    return not left


def _stamp() -> str:
    """A name for a submission: sorted by time, and nobody else's."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
