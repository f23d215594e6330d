"""What runs inside a job of a cluster: a command, and what to do when the job is asked to stop. No torch."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from seglab.study.launch import words_here

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

FINISHED = (0, 1, 2)
"""Exit codes of a command that has nothing left to do: done, done with failed runs, bad input."""

_TIME_IS_UP = {signal.SIGUSR1, signal.SIGUSR2}


@dataclass(frozen=True)
class Task:
    """A command as a job. It hears of the signals that Slurm sends; the job is queued again if its time was up or it was preempted.

    Depending on how a cluster tracks processes, a signal reaches those of a job all at once, or its first one alone: a command may hear of it
    twice, and has to take the second for the first.
    """

    command: tuple[str, ...]

    def __call__(self) -> None:
        requeue = signal.getsignal(signal.SIGUSR2)  # submitit's: keeps `checkpoint()` and asks Slurm to queue the job again
        process = subprocess.Popen(words_here(self.command), env=_environment())
        heard: set[int] = set()

        def forward(number: int, frame: FrameType | None) -> None:
            heard.add(number)
            process.send_signal(number)

        for number in (signal.SIGTERM, *_TIME_IS_UP):
            signal.signal(number, forward)
        code = process.wait()
        if heard and code not in FINISHED and _goes_on(os.environ["SLURM_JOB_ID"], bool(heard & _TIME_IS_UP)):
            signal.signal(signal.SIGUSR2, requeue)
            signal.raise_signal(signal.SIGUSR2)
        if code != 0:
            sys.exit(code if code > 0 else 128 - code)

    def checkpoint(self) -> "DelayedSubmission":
        """What goes on when the job starts again: the same command, which finds out by itself what is left to do."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _environment() -> dict[str, str]:
    """One thread for each core of the job, unless the user has said otherwise."""
    return {"OMP_NUM_THREADS": os.environ.get("SLURM_CPUS_PER_TASK", "1"), **os.environ}


def _goes_on(job: str, time_is_up: bool) -> bool:
    """Whether a job that was asked to stop is to be queued again: not one that was cancelled, and none that Slurm has queued already."""
    printed = subprocess.run(["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True, timeout=60).stdout
    said = dict(word.split("=", 1) for word in printed.split() if "=" in word)
    preempted = said.get("PreemptTime", "None") not in ("None", "Unknown") and said["PreemptTime"] >= said.get("StartTime", "")
    return said.get("JobState") == "RUNNING" and (time_is_up or preempted)
