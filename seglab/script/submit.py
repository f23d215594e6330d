"""`launch` and `cancel`: submit jobs to a cluster or cancel them, and tell the user which jobs."""

import os
import time
from pathlib import Path

from rich.console import Console

from seglab.cluster import jobs
from seglab.cluster.cluster import Cluster, JobArray
from seglab.cluster.command import class_path, shell
from seglab.running.plan import Plan
from seglab.script.supervise import count, prepare


def submit(plan: Plan, cluster: Cluster, console: Console) -> None:
    """Submit one job for each unfinished run, at most `cluster.jobs`. Jobs that are already in the queue for these runs are subtracted."""
    cluster.check()
    todo = prepare(plan, console)
    if not todo:
        return
    command = plan.worker_command()
    mine = class_path(type(cluster))  # the queue of another cluster may be unreachable from this machine
    before = [submission for submission in jobs.submissions(plan.folder) if submission.cluster == mine]
    there = jobs.in_queue(before)
    number = min(len(todo), cluster.jobs) - jobs.at_work(there, before, command)
    for line in jobs.lines(there):
        console.print(line, highlight=False, markup=False)
    if number <= 0:
        console.print("nothing submitted: the jobs in the queue do these runs", highlight=False)
        return
    sent = cluster.submit(JobArray(plan.study.name, number, plan.folder / jobs.FOLDER / _stamp(), tuple(command)))
    first, last = sent.ids[0], sent.ids[-1]
    console.print(f"submitted {count(number, 'job')}: {first}{'' if number == 1 else f' to {last}'}", highlight=False)
    for line in (
        f"how it goes: {shell(['seglab', 'status', str(plan.folder)])}",
        f"what a job prints: {sent.log(first)}",
        f"what a run prints: {todo[0].directory(plan.folder) / 'log.txt'}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def preview(plan: Plan, cluster: Cluster) -> str:
    """Return the script that `submit` would send; an empty text if no run is unfinished."""
    number = min(len(plan.unsettled), cluster.jobs)
    if not number:
        return ""
    return cluster.script(JobArray(plan.study.name, number, plan.folder / jobs.FOLDER / "TIME", tuple(plan.worker_command())))


def cancel(folder: Path, dry_run: bool, console: Console) -> bool:
    """Cancel the queued jobs of the study in `folder`, and return whether no job is left."""
    submitted = jobs.submissions(folder)
    there = jobs.in_queue(submitted)
    for line in jobs.lines(there):
        console.print(line, highlight=False, markup=False)
    if not there or dry_run:
        console.print(f"{folder}: {'would cancel ' + count(len(there), 'job') if there else 'no job is in the queue'}", highlight=False)
        return True
    left = jobs.cancel(submitted)
    console.print(f"{folder}: cancelled {count(len(there) - len(left), 'job')}", highlight=False)
    for line in jobs.lines(left):
        console.print(f"still there: {line}", style="yellow", highlight=False, markup=False)
    return not left


def _stamp() -> str:
    """Return a unique name for a submission. Names sort by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
