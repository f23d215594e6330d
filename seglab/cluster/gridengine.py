"""Grid Engine (Sun, Son of, Univa, Altair): the jobs of a study as an array job on one node each. No torch."""

import dataclasses
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, final
from xml.etree import ElementTree

from typing_extensions import override

from seglab.cluster.cluster import Cluster, JobArray, Needs, QueuedJob
from seglab.cluster.command import ask, shell
from seglab.cluster.fields import check_least, check_time, seconds_of
from seglab.cluster.gridengine_job import GridEngineJob


@final
@dataclass(frozen=True)
class GridEngine(Cluster):
    """A cluster with Grid Engine: an array job, whose tasks take one run after another until none is left.

    A task that reaches its time limit, is to be suspended or loses its host is requeued and continues. A deleted task
    is not requeued.
    """

    queue: str | None = None
    """Queue, as listed by `qconf -sql`; default: any queue that suits."""
    project: str | None = None
    """Project to which the jobs are charged."""
    parallel_environment: str = "smp"
    """Parallel environment for jobs of several cores on one host, as `qconf -spl` lists them. Jobs of one core need
    none.
    """
    cpus: int = 4
    """Processor cores (slots) of a job."""
    gpus: int | None = None
    """GPUs of a job; default: --devices, and 0 with --accelerator cpu."""
    gpu_resource: str = "gpu"
    """Name of the resource that counts the GPUs of a job. If the cluster counts GPUs for each slot, choose
    --launcher.cpus to suit.
    """
    resources: Mapping[str, str] = field(default_factory=dict)
    """Further resources, as in `{"mem_free": "16G"}`."""
    time: str = "12:00:00"
    """Time limit of a job, hours:minutes:seconds. A run that takes longer continues when the job is requeued."""
    jobs: int = 16
    """Maximum number of jobs. There are never more jobs than unfinished runs."""
    array_parallelism: int | None = None
    """Maximum number of jobs that run at the same time."""
    setup: tuple[str, ...] = ()
    """Shell lines before each job, as in `["module load cuda"]`."""
    warning: int = 120
    """Seconds before the time limit at which a job saves its run and stops."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further options of qsub without their dash, as in `{"p": "-100"}`. The value is empty for an option without
    one.
    """

    context: ClassVar[type[GridEngineJob]] = GridEngineJob

    def __post_init__(self) -> None:
        check_least(
            {
                "cpus": (self.cpus, 1),
                "jobs": (self.jobs, 1),
                "array_parallelism": (self.array_parallelism, 1),
                "gpus": (self.gpus, 0),
                "warning": (self.warning, 1),
            }
        )
        check_time(self.time, seconds_of(self.time), self.warning)

    @override
    def for_run(self, needs: Needs) -> "GridEngine":
        if needs.nodes > 1:
            raise ValueError(
                f"--num_nodes {needs.nodes}: a job of Grid Engine has one node; use --num_nodes 1 and up to all GPUs of a node"
            )
        if self.gpus not in (None, needs.gpus) and (self.gpus, needs.devices) != (0, 1):
            raise ValueError(
                f"--launcher.gpus {self.gpus}: a run computes on {needs.gpus}, as --devices and --accelerator say; leave it out"
            )
        if self.cpus < needs.processes:
            of = "a run has" if needs.runs == 1 else f"{needs.runs} runs at a time have"
            raise ValueError(f"--launcher.cpus {self.cpus}: {of} {needs.processes} processes; give each a core or more")
        return dataclasses.replace(self, gpus=needs.gpus if self.gpus is None else self.gpus)

    @override
    def check(self) -> None:
        if shutil.which("qsub") is None or shutil.which("qconf") is None:  # PBS has a qsub too
            raise ValueError(
                "there is no Grid Engine (qsub, qconf) on this machine; launch from a submit host of the cluster, "
                "see what would be sent with --dry_run, or `run` here"
            )

    @override
    def script(self, array: JobArray) -> str:
        options = [f"#$ -{name} {value}".rstrip() for name, value in self._options(array).items() if value is not None]
        resources = [f"#$ -l {name}={value}" for name, value in self._resources().items()]
        # not by -o, in which a comma, a colon and quotes of a folder's name have a meaning
        log = f"exec >> {shell([str(array.folder.absolute())])}/$JOB_ID.$SGE_TASK_ID.log 2>&1"
        start = ["exec", *self.job_words(array, stop_after=seconds_of(self.time) - self.warning)]
        return "\n".join(["#!/bin/bash", *options, *resources, log, *self.setup, shell(start), ""])

    @override
    def send(self, script: Path, array: JobArray) -> Sequence[str]:
        number = ask(["qsub", "-terse", str(script)]).split()[-1].partition(".")[0]  # of `17.1-3:1`
        return [f"{number}.{task}" for task in range(1, array.count + 1)]

    @classmethod
    @override
    def queued(cls, ids: Collection[str]) -> list[QueuedJob]:
        found = ElementTree.fromstring(ask(["qstat", "-xml", "-g", "d", "-u", "*"])).iter("job_list")
        jobs = [queued_job({child.tag: child.text or "" for child in entry}) for entry in found]
        return [job for job in jobs if job.id in ids]

    @classmethod
    @override
    def cancel(cls, ids: Collection[str]) -> None:
        ask(["qdel", *sorted({job.partition(".")[0] for job in ids})])  # an array was submitted as a whole

    @override
    def explain(self, refusal: str) -> str:
        reason = re.sub(r"Unable to run job: |error: |\s*Exiting\.", "", refusal).strip()
        return f"qsub refuses: {reason}.{self._offer(reason)}"

    def _offer(self, reason: str) -> str:
        """Return the values that the cluster offers in place of the refused one.

        Return an empty text if the reason is not known, or if Grid Engine does not answer.
        """
        try:
            if "unknown queue" in reason:
                return f" --launcher.queue: this cluster has {', '.join(ask(['qconf', '-sql']).split())}"
            if "parallel environment" in reason:
                return f" --launcher.parallel_environment: this cluster has {', '.join(ask(['qconf', '-spl']).split())}"
            if "unknown resource" in reason:
                rows = [line.split() for line in ask(["qconf", "-sc"]).splitlines() if line and not line.startswith("#")]
                counted = ", ".join(row[0] for row in rows if len(row) > 5 and row[5] != "NO")
                return f" --launcher.gpu_resource and --launcher.resources: this cluster counts {counted}"
            if "no suitable queues" in reason:
                rows = [line.split() for line in ask(["qstat", "-g", "c"]).splitlines()[2:]]
                queues = "; ".join(f"{row[0]}: {row[5]} slots" for row in rows if len(row) > 5)
                return f" No queue has what one job asks for ({self.cpus} slots, {self.gpus or 0} GPUs, {self.time}); there are {queues}"
        except ValueError:
            return ""
        return ""

    def _options(self, array: JobArray) -> dict[str, str | None]:
        """Return the options of qsub by name; None leaves one out."""
        return {
            "N": re.sub(r"^(?=[^A-Za-z_])", "_", re.sub(r"[^\w.-]", "_", array.name)),
            "S": "/bin/bash",
            "cwd": "",
            "V": "",
            "j": "y",
            "o": "/dev/null",
            "t": f"1-{array.count}",
            "tc": None if self.array_parallelism is None else str(self.array_parallelism),
            "q": self.queue,
            "P": self.project,
            "pe": None if self.cpus == 1 else f"{self.parallel_environment} {self.cpus}",
            "r": "y",
            "notify": "",
            "w": "e",  # refuse jobs that can never start
            **self.options,
        }

    def _resources(self) -> dict[str, str]:
        """Return the resources of a job by name.

        The soft limit s_rt, which announces the end of a job, is not used: Grid Engine 8.1.9 ends a requeued job at
        s_rt instead of h_rt. The job therefore stops itself before the limit.
        """
        gpus = {self.gpu_resource: str(self.gpus)} if self.gpus else {}
        return {"h_rt": str(seconds_of(self.time)), **gpus, **self.resources}


def queued_job(entry: Mapping[str, str]) -> QueuedJob:
    """Return a job from the elements of its entry in the output of `qstat -xml`."""
    job, letters = f"{entry['JB_job_number']}.{entry.get('tasks') or '1'}", entry.get("state", "")
    if "d" in letters:
        return QueuedJob(job, "being deleted", ending=True)
    if "E" in letters:
        return QueuedJob(job, "in error", f"(`qstat -j {entry['JB_job_number']}` says why)")
    if "h" in letters:
        return QueuedJob(job, "held")
    if set(letters) & set("sST"):
        return QueuedJob(job, "suspended", entry.get("queue_name", ""))
    if set(letters) & set("rt"):
        return QueuedJob(job, "running", entry.get("queue_name", ""))
    return QueuedJob(job, "pending")
