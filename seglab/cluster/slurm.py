"""Slurm: commands become the tasks of a job array, sent by submitit. No torch, and without Slurm the script can still be shown."""

import contextlib
import dataclasses
import io
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seglab.cluster.jobs import Submission, ask
from seglab.cluster.task import Task

RESTARTS = 1000
"""How often a job may reach its time limit and be queued again; preemptions of short jobs count among them."""


@dataclass(frozen=True)
class Slurm:
    """A cluster with Slurm: a job array, whose jobs take one run after another until none is left.

    A job that is preempted, reaches its time limit or loses its node is queued again and goes on; one that is cancelled is not.
    """

    partition: str | None = None
    """Of the cluster's nodes, as `sinfo` lists them; default: the cluster's."""
    account: str | None = None
    """Who pays for the jobs."""
    qos: str | None = None
    """Quality of service, which limits and orders jobs."""
    constraint: str | None = None
    """Features that a node must have, as in `a100|h100`."""
    time: str = "12:00:00"
    """Limit of a job, hours:minutes:seconds. It may be shorter than a study, or a run: the job then goes on in the next one."""
    nodes: int | None = None
    """Nodes of a job; default: as many as --num-nodes."""
    gpus: int | None = None
    """GPUs of a job, on each node; default: as many as --devices, none with --accelerator cpu."""
    cpus: int = 4
    """Processor cores of a job, on each node."""
    memory: int | None = None
    """GB of a job, on each node; default: the cluster's."""
    jobs: int = 16
    """At most so many jobs; no more than there are runs to do."""
    array_parallelism: int | None = None
    """At most so many of them at a time."""
    setup: tuple[str, ...] = ()
    """Lines of shell before each job, as in `["module load cuda"]`."""
    warning: int = 120
    """Seconds before the limit at which a job is told to save its run and stop."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Anything else that sbatch knows, as in `{"reservation": "course"}`."""

    def __post_init__(self) -> None:
        for name, least in (("cpus", 1), ("jobs", 1), ("memory", 1), ("array_parallelism", 1), ("nodes", 1), ("gpus", 0), ("warning", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"--launcher.{name} {value}: must be {least} or more")
        if self.minutes * 60 <= self.warning:
            raise ValueError(
                f"--launcher.time {self.time}: must be longer than the --launcher.warning of {self.warning} seconds before its end"
            )

    @property
    def minutes(self) -> int:
        """The time limit, rounded up to what Slurm counts in."""
        if re.fullmatch(r"\d{1,4}:[0-5]\d:[0-5]\d", self.time) is None:
            raise ValueError(f"--launcher.time {self.time}: expected hours:minutes:seconds, as in 12:00:00 (two days are 48:00:00)")
        hours, minutes, seconds = map(int, self.time.split(":"))
        return hours * 60 + minutes + (seconds > 0)

    def for_runs_on(self, devices: int, num_nodes: int, cpu: bool) -> "Slurm":
        """The same with the nodes and GPUs that a run needs; a ValueError if it says otherwise itself."""
        needed = 0 if cpu else devices
        if self.gpus not in (None, needed) and (self.gpus, devices) != (0, 1):
            raise ValueError(f"--launcher.gpus {self.gpus}: a run computes on {needed}, as --devices and --accelerator say; leave it out")
        if self.nodes not in (None, num_nodes):
            raise ValueError(f"--launcher.nodes {self.nodes}: a run computes on {num_nodes}, as --num-nodes says; leave it out")
        if self.cpus < devices:
            raise ValueError(f"--launcher.cpus {self.cpus}: a run has {devices} processes on each node; give each a core or more")
        return dataclasses.replace(self, gpus=needed if self.gpus is None else self.gpus, nodes=num_nodes)

    def check(self) -> None:
        """A ValueError if nothing can be submitted from this machine."""
        if shutil.which("sbatch") is None:
            raise ValueError(
                "there is no sbatch on this machine; launch from a login node of the cluster, see what would be sent with --dry-run, or `run` here"
            )

    def script(self, jobs: int, folder: Path, name: str) -> str:
        """What sbatch is given for so many jobs."""
        from submitit.slurm.slurm import _make_sbatch_string

        command = f"{sys.executable} -u -m submitit.core._submit {folder.absolute()}"
        array = jobs if jobs > 1 else None
        return _make_sbatch_string(command=command, folder=folder.absolute(), map_count=array, **self._parameters(name))

    def submit(self, commands: Sequence[Sequence[str]], folder: Path, name: str) -> Submission:
        """Submit a job for each command; their script and logs come into the new `folder`. A ValueError with Slurm's words if it refuses."""
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError

        self.check()
        folder.mkdir(parents=True)
        executor = SlurmExecutor(folder.absolute(), max_num_timeout=RESTARTS)
        executor.update_parameters(**self._parameters(name))
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), executor.batch():
                sent = [executor.submit(Task(tuple(command))) for command in commands]
        except FailedJobError as error:
            shutil.rmtree(folder)
            with contextlib.suppress(OSError):
                folder.parent.rmdir()  # unless others are in it
            raise ValueError(self._refusal(str(error))) from None
        print(said.getvalue(), end="", file=sys.stderr)
        submission = Submission(folder, tuple(job.job_id for job in sent), tuple(commands[0]))
        submission.write()
        return submission

    def _parameters(self, name: str) -> dict[str, Any]:
        given = {
            "job_name": name,
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "time": self.minutes,
            "nodes": self.nodes or 1,
            "ntasks_per_node": 1,
            "gpus_per_node": self.gpus or None,
            "cpus_per_task": self.cpus,
            "mem": None if self.memory is None else f"{self.memory}GB",
            "array_parallelism": self.jobs if self.array_parallelism is None else self.array_parallelism,
            "setup": list(self.setup) or None,
            "signal_delay_s": self.warning,
            "stderr_to_stdout": True,
            "srun_args": [
                *(["--nodes", "1", "--ntasks", "1"] if (self.nodes or 1) > 1 else []),  # the worker; it starts each run on all nodes
                *("--cpus-per-task", str(self.cpus)),  # srun no longer takes it over from sbatch (Slurm 22.05)
            ],
            "additional_parameters": {"requeue": True, **self.options},
        }
        return {**{key: value for key, value in given.items() if value is not None}, "wckey": None}

    def _refusal(self, printed: str) -> str:
        """Slurm's own words, and what is there instead of what was asked for."""
        said = [line.partition("error: ")[2] for line in printed.splitlines() if line.startswith("sbatch: error: ")]
        reason = "; ".join(said) or " ".join(printed.split())
        return f"sbatch refuses: {reason}.{self._offer(reason)}"

    def _offer(self, reason: str) -> str:
        try:
            if "partition" in reason.lower():
                return f" --launcher.partition: this cluster has {', '.join(ask(['sinfo', '--noheader', '--format', '%R']).split())}"
            if "node configuration" in reason.lower():
                words = ["sinfo", "--noheader", *(["--partition", self.partition] if self.partition else []), "--format"]
                nodes = "; ".join(ask([*words, "%R: %D nodes of %c CPUs, %m MB, generic resources %G"]).splitlines())
                wanted = f"{self.gpus or 0} GPUs, {self.cpus} CPUs" + (f", {self.memory} GB" if self.memory else "")
                return f" No node has what one job asks for ({wanted}); there are {nodes}"
        except ValueError:  # sinfo has no answer: then Slurm's words stand alone
            return ""
        return ""
