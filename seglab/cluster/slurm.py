"""Slurm: the jobs of a study as a job array. No torch. The script can be shown on a machine without Slurm."""

import dataclasses
import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, final

from typing_extensions import override

from seglab.cluster.cluster import Cluster, JobArray, Needs, QueuedJob
from seglab.cluster.command import ask, shell
from seglab.cluster.fields import check_least, check_time, seconds_of
from seglab.cluster.slurm_job import SlurmJob


@final
@dataclass(frozen=True)
class Slurm(Cluster):
    """A cluster with Slurm: a job array, whose jobs take one run after another until none is left.

    A job that is preempted, reaches its time limit or loses its node is requeued and continues. A cancelled job is not
    requeued.
    """

    partition: str | None = None
    """Partition, as listed by `sinfo`; default: the cluster's default partition."""
    account: str | None = None
    """Account to which the jobs are charged."""
    qos: str | None = None
    """Quality of service, which limits and orders jobs."""
    constraint: str | None = None
    """Features that a node must have, as in `a100|h100`."""
    time: str = "12:00:00"
    """Time limit of a job, hours:minutes:seconds. A run that takes longer continues when the job is requeued."""
    nodes: int | None = None
    """Nodes of a job; default: --num_nodes."""
    gpus: int | None = None
    """GPUs of a job on each node; default: --devices, and 0 with --accelerator cpu."""
    cpus: int = 4
    """Processor cores of a job on each node."""
    memory: int | None = None
    """Memory of a job on each node, in GB; default: the cluster's default."""
    jobs: int = 16
    """Maximum number of jobs. There are never more jobs than unfinished runs."""
    array_parallelism: int | None = None
    """Maximum number of jobs that run at the same time."""
    setup: tuple[str, ...] = ()
    """Shell lines before each job, as in `["module load cuda"]`."""
    warning: int = 120
    """Seconds before the time limit at which a job saves its run and stops."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further options of sbatch, as in `{"reservation": "course"}`. The value is empty for an option without one."""

    context: ClassVar[type[SlurmJob]] = SlurmJob

    def __post_init__(self) -> None:
        check_least(
            {
                "cpus": (self.cpus, 1),
                "jobs": (self.jobs, 1),
                "memory": (self.memory, 1),
                "array_parallelism": (self.array_parallelism, 1),
                "nodes": (self.nodes, 1),
                "gpus": (self.gpus, 0),
                "warning": (self.warning, 1),
            }
        )
        check_time(self.time, 60 * self.minutes, self.warning)

    @property
    def minutes(self) -> int:
        """Time limit in minutes, Slurm's unit, rounded up."""
        return -(-seconds_of(self.time) // 60)

    @override
    def for_run(self, needs: Needs) -> "Slurm":
        if self.gpus not in (None, needs.gpus) and (self.gpus, needs.devices) != (0, 1):
            raise ValueError(
                f"--launcher.gpus {self.gpus}: a run computes on {needs.gpus}, as --devices and --accelerator say; leave it out"
            )
        if self.nodes not in (None, needs.nodes):
            raise ValueError(f"--launcher.nodes {self.nodes}: a run computes on {needs.nodes}, as --num_nodes says; leave it out")
        if self.cpus < needs.processes:
            of = "a run has" if needs.runs == 1 else f"{needs.runs} runs at a time have"
            raise ValueError(f"--launcher.cpus {self.cpus}: {of} {needs.processes} processes on each node; give each a core or more")
        return dataclasses.replace(self, gpus=needs.gpus if self.gpus is None else self.gpus, nodes=needs.nodes)

    @override
    def check(self) -> None:
        if shutil.which("sbatch") is None:
            raise ValueError(
                "there is no sbatch on this machine; launch from a login node of the cluster, see what would be sent with --dry_run, or `run` here"
            )

    @override
    def script(self, array: JobArray) -> str:
        flags = [f"#SBATCH --{name}" + (f"={shell([value])}" if value != "" else "") for name, value in self._options(array).items()]
        start = ["srun", "--unbuffered", f"--cpus-per-task={self.cpus}", *self.job_words(array)]
        return "\n".join(["#!/bin/bash", *flags, *self.setup, shell(start), ""])

    @override
    def send(self, script: Path, array: JobArray) -> Sequence[str]:
        # sbatch obeys a variable, such as SBATCH_PARTITION, instead of a line of the script; its words come first
        flags = [f"--{name}" + (f"={value}" if value != "" else "") for name, value in self._options(array).items()]
        words = ["sbatch", "--parsable", *flags, str(script)]
        job = ask(words, environment=_outside_of_jobs(os.environ)).strip().partition(";")[0]  # `17`, or `17;cluster`
        return [job] if array.count == 1 else [f"{job}_{task}" for task in range(array.count)]

    @classmethod
    @override
    def queued(cls, ids: Collection[str]) -> list[QueuedJob]:
        words = ["squeue", "--noheader", "--array", "--jobs", ",".join(_arrays(ids)), "--format", "%i|%T|%R"]
        try:
            printed = ask(words, environment=_unfiltered(os.environ))
        except ValueError as error:
            if "Invalid job id" in str(error):  # Slurm has forgotten all of the jobs
                return []
            raise
        rows = [line.split("|", 2) for line in printed.splitlines()]
        return [QueuedJob(job, state.lower(), place, ending=state == "COMPLETING") for job, state, place in rows if job in ids]

    @classmethod
    @override
    def cancel(cls, ids: Collection[str]) -> None:
        ask(["scancel", *_arrays(ids)], environment=_unfiltered(os.environ))

    @override
    def explain(self, refusal: str) -> str:
        said = [part.strip() for part in refusal.split("sbatch: error: ")[1:]]
        reason = "; ".join(said) or refusal
        return f"sbatch refuses: {reason}.{self._offer(reason)}"

    def _offer(self, reason: str) -> str:
        """Return the values that the cluster offers in place of the refused one.

        Return an empty text if the reason is not known, or if Slurm does not answer.
        """
        try:
            if "partition" in reason.lower():
                return f" --launcher.partition: this cluster has {', '.join(ask(['sinfo', '--noheader', '--format', '%R']).split())}"
            if "node configuration" in reason.lower():
                words = ["sinfo", "--noheader", *(["--partition", self.partition] if self.partition else []), "--format"]
                nodes = "; ".join(ask([*words, "%R: %D nodes of %c CPUs, %m MB, generic resources %G"]).splitlines())
                wanted = f"{self.gpus or 0} GPUs, {self.cpus} CPUs" + (f", {self.memory} GB" if self.memory else "")
                return f" No node has what one job asks for ({wanted}); there are {nodes}"
        except ValueError:
            return ""
        return ""

    def _options(self, array: JobArray) -> dict[str, str]:
        """Return the options of sbatch by name; the value is empty for an option without one."""
        several = array.count > 1
        limit = "" if self.array_parallelism is None else f"%{self.array_parallelism}"
        folder = str(array.folder.absolute()).replace("%", "%%")  # Slurm replaces %j and the like
        options: dict[str, str | int | None] = {
            "job-name": array.name,
            "output": f"{folder}/{'%A_%a' if several else '%j'}.log",
            "open-mode": "append",
            "array": f"0-{array.count - 1}{limit}" if several else None,
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "time": self.minutes,
            "nodes": self.nodes or 1,
            "ntasks-per-node": 1,
            "gpus-per-node": self.gpus or None,
            "cpus-per-task": self.cpus,
            "mem": None if self.memory is None else f"{self.memory}GB",
            "signal": f"USR2@{self.warning}",
            "requeue": "",
            **self.options,
        }
        return {name: str(value) for name, value in options.items() if value is not None}


def _arrays(ids: Iterable[str]) -> list[str]:
    """Return the ids of the job arrays: job ids without task numbers.

    An array is submitted as a whole, so the list is short.
    """
    return sorted({job.partition("_")[0] for job in ids})


def _outside_of_jobs(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for sbatch, without what Slurm says of the job that this process runs in, if any.

    The new job would inherit what its own job does not set, such as SLURM_MEM_PER_CPU, and its srun would obey.
    """
    if "SLURM_JOB_ID" not in environment:
        return dict(environment)
    return {name: value for name, value in environment.items() if not name.startswith("SLURM_") or name == "SLURM_CONF"}


def _unfiltered(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the user's filters of the queue, such as SQUEUE_STATES, and questions back."""
    return {name: value for name, value in environment.items() if not name.startswith(("SQUEUE_", "SCANCEL_"))}
