"""The jobs that were submitted for a study, and what the cluster's queue says of them. No torch, and nothing to install."""

import json
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seglab.records import write_json

FOLDER = "jobs"
"""Where a study's folder keeps its submissions: a folder each, with `jobs.json`, the script, and a log for every job."""


@dataclass(frozen=True)
class Submission:
    """Jobs that were submitted together."""

    folder: Path
    """Of their script and logs."""
    ids: tuple[str, ...]
    """As Slurm writes them: `17`, or `17_0`, `17_1`, ... of an array."""
    command: tuple[str, ...]
    """What each of them runs."""

    def write(self) -> None:
        """Keep it, for `status`, `cancel` and the next `launch`."""
        write_json(self.folder / "jobs.json", {"ids": self.ids, "command": self.command})

    def log(self, job: str) -> Path:
        """What a job has printed; each run's own output is in its `log.txt`."""
        return self.folder / f"{job}_0_log.out"


@dataclass(frozen=True)
class Job:
    """A job that is in the queue."""

    id: str
    state: str
    """Slurm's word: PENDING, RUNNING, ..."""
    where: str
    """The nodes of a running one, why a waiting one waits."""


def submissions(folder: Path) -> list[Submission]:
    """What was submitted for the study in `folder`, from first to last."""
    return [_read(path) for path in sorted((folder / FOLDER).glob("*/jobs.json"))]


def in_queue(submitted: Iterable[Submission]) -> list[Job]:
    """Those of the jobs that wait, run or come to an end; a ValueError where Slurm cannot be asked."""
    ids = {job for submission in submitted for job in submission.ids}
    if not ids:
        return []
    words = ["squeue", "--noheader", "--array", "--jobs", ",".join(_arrays(ids)), "--format", "%i|%T|%R"]
    try:
        printed = ask(words)
    except ValueError as error:
        if "Invalid job id" in str(error):  # what squeue says when it has forgotten all of them
            return []
        raise
    found = [Job(*line.split("|", 2)) for line in printed.splitlines()]
    return sorted((job for job in found if job.id in ids), key=lambda job: [int(number) for number in job.id.split("_")])


def at_work(jobs: Iterable[Job], submitted: Iterable[Submission], command: Sequence[str]) -> int:
    """How many of the jobs take runs, or will, by this command: one that is coming to an end takes none."""
    ids = {job for submission in submitted if submission.command == tuple(command) for job in submission.ids}
    return sum(job.id in ids and job.state != "COMPLETING" for job in jobs)


def cancel(jobs: Collection[Job], patience: float = 60.0) -> list[Job]:
    """Cancel them, wait until they have stopped, and give those that have not after `patience` seconds."""
    ask(["scancel", *_arrays(job.id for job in jobs)])  # an array was submitted as a whole, so it may go as a whole
    submission = Submission(Path(), tuple(job.id for job in jobs), ())
    deadline = time.monotonic() + patience
    while (left := in_queue([submission])) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


def lines(jobs: Sequence[Job]) -> list[str]:
    """A line for every state and reason: how many, and which.

    >>> lines([Job("7_0", "RUNNING", "n1"), Job("7_1", "PENDING", "(Priority)"), Job("7_2", "PENDING", "(Priority)")])
    ['1 job running on n1: 7_0', '2 jobs pending (Priority): 7_1, 7_2']
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for job in jobs:
        groups.setdefault((job.state, job.where), []).append(job.id)
    return [_line(state, where, ids) for (state, where), ids in groups.items()]


def ask(words: Sequence[str]) -> str:
    """What one of Slurm's commands prints; a ValueError with its own words if it fails, or is not there."""
    if shutil.which(words[0]) is None:
        raise ValueError(f"there is no {words[0]} on this machine; Slurm's commands are on the login nodes of a cluster")
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{words[0]} did not answer within a minute; try again when the cluster's controller is back") from None
    if done.returncode != 0:
        raise ValueError(" ".join(done.stderr.split()) or f"{words[0]} ended with exit code {done.returncode}")
    return done.stdout


def _line(state: str, where: str, ids: Sequence[str], shown: int = 8) -> str:
    listed = ", ".join(ids[:shown]) + (", …" if len(ids) > shown else "")
    place = f" on {where}" if where and not where.startswith("(") else f" {where}" if where else ""
    return f"{len(ids)} {'job' if len(ids) == 1 else 'jobs'} {state.lower()}{place}: {listed}"


def _arrays(ids: Iterable[str]) -> list[str]:
    """The jobs without their tasks: a list that stays short."""
    return sorted({job.partition("_")[0] for job in ids})


def _read(path: Path) -> Submission:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Submission(path.parent, tuple(map(str, raw["ids"])), tuple(map(str, raw["command"])))
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: damaged, so its jobs are not known; find them with `squeue --me`, then delete the file") from None
