"""A job of Slurm from within. No torch."""

import os
import shutil
import signal
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import final

from typing_extensions import override

from seglab.cluster.cluster import JobContext
from seglab.cluster.command import ask
from seglab.exit_codes import INTERRUPTED

RESTARTS = 1000
"""Maximum number of times that a job requeues itself."""

TIME_IS_UP = {signal.SIGUSR1, signal.SIGUSR2}


@final
@dataclass(frozen=True)
class SlurmJob(JobContext):
    """The job that Slurm's environment variables describe."""

    rank_variables = tuple(f"SLURM_{name}" for name in ("NTASKS", "NPROCS", "NTASKS_PER_NODE", "PROCID", "LOCALID", "NODEID"))

    number: str
    """Id of the job, or of one task of an array, such as `17_2`.

    The last task has the array's own number as SLURM_JOB_ID, by which Slurm's commands mean all tasks.
    """

    @classmethod
    @override
    def current(cls) -> "SlurmJob | None":
        number = os.environ.get("SLURM_JOB_ID")
        array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        if number is None:
            return None
        return cls(number if array is None or task is None else f"{array}_{task}")

    @classmethod
    @override
    def is_rank_of(cls, processes: int) -> bool:
        return "SLURM_STEP_ID" in os.environ and os.environ.get("SLURM_NTASKS") == str(processes)

    @property
    @override
    def id(self) -> str:
        return self.number

    @property
    @override
    def restarts(self) -> int:
        return int(os.environ.get("SLURM_RESTART_COUNT", 0))

    @property
    @override
    def cores(self) -> int:
        return int(os.environ.get("SLURM_CPUS_PER_TASK", 1))

    @property
    @override
    def signals_reach_all(self) -> bool:
        """Return False if processes are tracked by cgroups, as on most clusters, or if scontrol does not answer.

        With cgroups, Slurm signals only the first process of a step.
        """
        printed = _scontrol("show", "config")
        return "ProctrackType" in printed and "proctrack/cgroup" not in printed

    @override
    def should_requeue(self, signals: Collection[int]) -> bool:
        """Return whether the job still runs, and was preempted or has reached its time limit.

        If scontrol does not answer, return True: `requeue` then raises an error that names the reason.
        """
        said = _facts(_scontrol("--oneliner", "show", "job", self.number))
        if not said:
            return True
        preempted = said.get("PreemptTime", "None") not in ("None", "Unknown") and said["PreemptTime"] >= said.get("StartTime", "")
        return said.get("JobState") == "RUNNING" and (preempted or not TIME_IS_UP.isdisjoint(signals))

    @override
    def requeue(self) -> int:
        if shutil.which("scontrol") is None:
            raise ValueError("there is no scontrol in its PATH, as in a container without Slurm's commands")
        if self.restarts >= RESTARTS:
            raise ValueError(f"it was queued again {RESTARTS} times already")
        ask(["scontrol", "requeue", self.number])
        return INTERRUPTED

    @property
    @override
    def nodes(self) -> int:
        return int(os.environ.get("SLURM_JOB_NUM_NODES", 1))

    @override
    def start_on_nodes(self, nodes: int, devices: int) -> list[str]:
        """Return an `srun` command whose step shares the resources of this process's step."""
        cores = max(1, int(os.environ.get("SLURM_CPUS_PER_TASK", devices)) // devices)
        return [
            *("srun", "--overlap", "--kill-on-bad-exit=1", "--unbuffered", "--distribution=block"),
            *(f"--nodes={nodes}", f"--ntasks={nodes * devices}", f"--ntasks-per-node={devices}", f"--cpus-per-task={cores}"),
        ]

    @override
    def rendezvous(self) -> dict[str, str]:
        """Return the address by which Slurm reaches the first node, and a port that is free on this machine.

        Raises:
            ValueError: Slurm does not answer.
        """
        first = ask(["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]).split()[0]
        said = _facts(ask(["scontrol", "--oneliner", "show", "node", first]))
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = probe.getsockname()[1]  # free on this machine, which is the first node unless `run` was called within salloc elsewhere
        return {"MASTER_ADDR": said.get("NodeAddr", first), "MASTER_PORT": str(port)}

    @override
    def ranks(self) -> dict[str, str]:
        return {"LOCAL_RANK": os.environ["SLURM_LOCALID"], "NODE_RANK": os.environ["SLURM_NODEID"]}


def _scontrol(*words: str) -> str:
    """Return the output of scontrol; an empty text if scontrol fails or is missing."""
    try:
        return ask(["scontrol", *words])
    except ValueError:
        return ""


def _facts(printed: str) -> dict[str, str]:
    """Return the `name=value` pairs that scontrol prints."""
    return dict(word.split("=", 1) for word in printed.split() if "=" in word)
