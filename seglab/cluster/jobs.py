"""The jobs that were submitted for a study, and their states in the schedulers' queues. No torch."""

import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from seglab.cluster.cluster import Cluster, QueuedJob, Submission
from seglab.cluster.command import class_at

FOLDER = "jobs"
"""Name of the folder of submissions in a study's folder. Each submission has a folder with its script, `jobs.json` and
a log for each job.
"""


def submissions(folder: Path) -> list[Submission]:
    """Return the submissions of the study in `folder`, oldest first."""
    return [_read(path) for path in sorted((folder / FOLDER).glob("*/jobs.json"))]


def by_cluster(submitted: Iterable[Submission]) -> dict[str, list[Submission]]:
    """Return the submissions to each cluster, by its import path."""
    groups: dict[str, list[Submission]] = {}
    for submission in submitted:
        groups.setdefault(submission.cluster, []).append(submission)
    return groups


def in_queue(submitted: Iterable[Submission]) -> list[QueuedJob]:
    """Return the submitted jobs that are in a queue; raise a ValueError if a scheduler does not answer."""
    found = [job for cluster, ids in _classes(submitted) for job in cluster.queued(ids) if job.id in ids]
    return sorted(
        found, key=lambda job: [(int(number), "") if number.isdigit() else (0, number) for number in re.split(r"[^0-9]+", job.id)]
    )


def at_work(queued: Iterable[QueuedJob], submitted: Iterable[Submission], command: Sequence[str]) -> list[int]:
    """Return the number of workers of each job that takes runs by `command`, now or when it starts.

    Jobs that are about to end do not count.
    """
    workers = {job: submission.workers for submission in submitted if submission.command == tuple(command) for job in submission.ids}
    return [workers[job.id] for job in queued if job.id in workers and not job.ending]


def cancel(submitted: Sequence[Submission], patience: float = 60.0) -> list[QueuedJob]:
    """Cancel the submitted jobs that are in a queue, and wait until they have left it.

    Return the jobs left after `patience` seconds.
    """
    for cluster, ids in _classes(submitted):
        if queued := {job.id for job in cluster.queued(ids)} & ids:
            cluster.cancel(queued)
    deadline = time.monotonic() + patience
    while (left := in_queue(submitted)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


def lines(queued: Sequence[QueuedJob]) -> list[str]:
    """Return a line for each state and place, with the number of its jobs and their ids.

    >>> lines([QueuedJob("7_0", "running", "n1"), QueuedJob("7_1", "pending", "(Priority)"), QueuedJob("7_2", "pending", "(Priority)")])
    ['1 job running on n1: 7_0', '2 jobs pending (Priority): 7_1, 7_2']
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for job in queued:
        groups.setdefault((job.state, job.place), []).append(job.id)
    return [_line(state, place, ids) for (state, place), ids in groups.items()]


def _line(state: str, place: str, ids: Sequence[str], shown: int = 8) -> str:
    listed = ", ".join(ids[:shown]) + (", …" if len(ids) > shown else "")
    where = f" on {place}" if place and not place.startswith("(") else f" {place}" if place else ""
    return f"{len(ids)} {'job' if len(ids) == 1 else 'jobs'} {state}{where}: {listed}"


def _classes(submitted: Iterable[Submission]) -> Iterator[tuple[type[Cluster], set[str]]]:
    """Yield each cluster with the ids of the jobs that were submitted to it."""
    for path, group in by_cluster(submitted).items():
        ids = {job for submission in group for job in submission.ids}
        yield class_at(path, Cluster), ids  # type: ignore[type-abstract]


def _read(path: Path) -> Submission:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        ids, command = tuple(map(str, raw["ids"])), tuple(map(str, raw["command"]))
        return Submission(path.parent, ids, command, str(raw["cluster"]), int(raw.get("workers", 1)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{path}: damaged, so its jobs are not known; find them with the scheduler's own commands, then delete the file"
        ) from None
