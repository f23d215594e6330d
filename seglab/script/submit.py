"""`launch`: submit jobs to a cluster, and tell the user which jobs."""

import math
from datetime import datetime

from rich.console import Console

from seglab.cluster import jobs
from seglab.cluster.cluster import Cluster, JobArray
from seglab.cluster.command import class_path, shell
from seglab.running.plan import Plan, withdraw_record
from seglab.running.status import count
from seglab.script.supervise import prepare


def submit(plan: Plan, cluster: Cluster, workers: int, console: Console) -> None:
    """Submit one job for every `workers` unfinished runs, at most `cluster.jobs`.

    Jobs that are already in the queue for these runs are subtracted.
    """
    cluster.check()
    is_new = not (plan.folder / "study.json").exists()
    todo = prepare(plan, console)
    if not todo:
        return
    command = plan.worker_command()
    mine = class_path(type(cluster))  # the queue of another cluster may be unreachable from this machine
    before = [submission for submission in jobs.submissions(plan.folder) if submission.cluster == mine]
    there = jobs.in_queue(before)
    at_work = jobs.at_work(there, before, command)
    number = min(math.ceil((len(todo) - sum(at_work)) / workers), cluster.jobs - len(at_work))
    for line in jobs.lines(there):
        console.print(line, highlight=False, markup=False)
    if number <= 0:
        console.print("nothing submitted: the jobs in the queue do these runs", highlight=False)
        return
    try:
        sent = cluster.submit(JobArray(plan.study.name, number, plan.folder / jobs.FOLDER / _stamp(), tuple(command), workers))
    except ValueError:
        if is_new:
            withdraw_record(plan)
        raise
    first, last = sent.ids[0], sent.ids[-1]
    sharing = "" if workers == 1 else f", {workers} runs at a time in each"
    console.print(f"submitted {count(number, 'job')}: {first}{'' if number == 1 else f' to {last}'}{sharing}", highlight=False)
    for line in (
        f"how it goes: {shell(['seglab', 'status', str(plan.folder)])}",
        f"what a job prints: {sent.log(first)}",
        f"what a run prints: {todo[0].directory(plan.folder) / 'log.txt'}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def preview(plan: Plan, cluster: Cluster, workers: int) -> str:
    """Return the script that `submit` would send; an empty text if no run is unfinished."""
    number = min(math.ceil(len(plan.unsettled) / workers), cluster.jobs)
    if not number:
        return ""
    return cluster.script(JobArray(plan.study.name, number, plan.folder / jobs.FOLDER / "TIME", tuple(plan.worker_command()), workers))


def _stamp() -> str:
    """Return a name for a submission: the time, to the microsecond, because two may come within a second."""
    return f"{datetime.now():%Y%m%d-%H%M%S-%f}"
