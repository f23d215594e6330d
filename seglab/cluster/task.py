"""What runs inside a job of a cluster: a command, and what to do when the job is asked to stop. No torch."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from seglab.cluster.command import words_here

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

FINISHED = (0, 1, 2)
"""Exit codes of a command that has nothing left to do: done, done with failed runs, bad input."""

_TIME_IS_UP = {signal.SIGUSR1, signal.SIGUSR2}
_SIGNALS = (signal.SIGTERM, *_TIME_IS_UP)


@dataclass(frozen=True)
class Task:
    """A command as a job. It hears, once, of the signals that Slurm sends; the job is queued again if its time was up or it was preempted."""

    command: tuple[str, ...]

    def __call__(self) -> None:
        requeue = signal.getsignal(signal.SIGUSR2)  # submitit's: keeps `checkpoint()` and asks Slurm to queue the job again
        pass_on = _reach_first_process_alone()
        heard: set[int] = set()

        def hear(number: int, frame: FrameType | None) -> None:
            heard.add(number)
            if pass_on:
                process.send_signal(number)

        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # the command's process unblocks its own when it knows what to do with them
        process = subprocess.Popen(words_here(self.command), env=_environment())
        for number in _SIGNALS:
            signal.signal(number, hear)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
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


def _reach_first_process_alone() -> bool:
    """Whether signals to a job come to its first process only, as with cgroups, which most clusters use; elsewhere to each of its processes."""
    printed = _scontrol("show", "config")
    return "ProctrackType" not in printed or "proctrack/cgroup" in printed


def _goes_on(job: str, time_is_up: bool) -> bool:
    """Whether a job that was asked to stop is to be queued again: not one that was cancelled, and none that Slurm has queued already."""
    said = dict(word.split("=", 1) for word in _scontrol("--oneliner", "show", "job", job).split() if "=" in word)
    preempted = said.get("PreemptTime", "None") not in ("None", "Unknown") and said["PreemptTime"] >= said.get("StartTime", "")
    return said.get("JobState") == "RUNNING" and (time_is_up or preempted)


def _scontrol(*words: str) -> str:
    """What it prints; nothing if it does not answer."""
    try:
        return subprocess.run(["scontrol", *words], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
