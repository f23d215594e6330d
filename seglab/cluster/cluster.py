"""The interface to a scheduler.

A `Cluster` submits jobs. A `JobContext` describes a job to its own processes. No torch.

A scheduler of your own is one file with a subclass of each: see docs/howto/schedulers.md.
"""

import contextlib
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self, final

from seglab.cluster.command import class_path
from seglab.records import write_json, write_text


@dataclass(frozen=True)
class Needs:
    """Machines and devices that the runs of a job need."""

    devices: int = 1
    """Processes of one run on each node."""
    nodes: int = 1
    cpu: bool = False
    """True if the runs compute on the CPU, so that their job asks for no GPU."""
    runs: int = 1
    """Runs at a time in a job. They share its GPUs."""

    @property
    def gpus(self) -> int:
        """GPUs of a job on each node."""
        return 0 if self.cpu else self.devices

    @property
    def processes(self) -> int:
        """Training processes of a job on each node."""
        return self.devices * self.runs


@dataclass(frozen=True)
class JobArray:
    """Equal jobs to submit together. They take one run after another until none is left."""

    name: str
    count: int
    folder: Path
    """Folder for the script, `jobs.json` and the logs. It may not exist yet."""
    command: tuple[str, ...]
    """Command of each job. The word `python` stands for the interpreter of the job's machine."""
    workers: int = 1
    """Processes of each job that run the command at the same time. Each takes one run after another."""


@dataclass(frozen=True)
class QueuedJob:
    """A job in a scheduler's queue."""

    id: str
    state: str
    """State in a word, such as `pending` or `running`."""
    place: str = ""
    """Nodes of a running job. Reason, in parentheses, why a pending job waits."""
    ending: bool = False
    """True if the job is about to end, so that it takes no further run."""


@dataclass(frozen=True)
class Submission:
    """Jobs that were submitted together."""

    folder: Path
    ids: tuple[str, ...]
    command: tuple[str, ...]
    cluster: str
    """Import path of the `Cluster` that submitted the jobs. `status` and `cancel` ask this class."""
    workers: int = 1
    """Runs at a time in each job."""

    def write(self) -> None:
        """Write `jobs.json`, which `status`, `cancel` and the next `launch` read."""
        about = {"cluster": self.cluster, "ids": self.ids, "command": self.command, "workers": self.workers}
        write_json(self.folder / "jobs.json", about)

    def log(self, job: str) -> Path:
        """Return the path of a job's log. A run has its own `log.txt`."""
        return self.folder / f"{job}.log"


class JobContext(ABC):
    """Description of the job that this process runs in.

    The methods for several nodes have defaults for a scheduler whose jobs have one node.
    """

    rank_variables: ClassVar[Collection[str]] = ()
    """Environment variables that give a process its rank among those that the scheduler starts. Only ranks of a run
    heed them.
    """

    @classmethod
    @abstractmethod
    def current(cls) -> Self | None:
        """Return the job that this process runs in; None outside of this scheduler's jobs."""

    @classmethod
    def is_rank_of(cls, processes: int) -> bool:
        """Return whether the scheduler has started this process as one of this number of ranks."""
        return False

    @property
    @abstractmethod
    def id(self) -> str:
        """Id of the job, unchanged when the job is requeued. It contains neither spaces nor slashes."""

    @property
    def restarts(self) -> int:
        """Number of times that the job was requeued. A lower bound is allowed if the scheduler does not count."""
        return 0

    @property
    def cores(self) -> int:
        """Processor cores of the job on this node."""
        return 1

    @property
    def signals_reach_all(self) -> bool:
        """Return whether the scheduler signals every process of the job.

        If False, the first process passes signals on to the others.
        """
        return True

    @abstractmethod
    def should_requeue(self, signals: Collection[int]) -> bool:
        """Return whether to requeue a job that stopped on `signals`.

        Requeue a job that reached its time limit or was preempted, but not a job that was cancelled.
        """

    @abstractmethod
    def requeue(self) -> int:
        """Requeue this job and return the exit code with which it must end.

        Raises:
            ValueError: The job cannot requeue itself. The message says why.
        """

    @property
    def nodes(self) -> int:
        """Number of nodes of the job."""
        return 1

    def start_on_nodes(self, nodes: int, devices: int) -> list[str]:
        """Return the words of a command that starts processes on several nodes.

        It starts the command after it for each device of each node.

        Raises:
            ValueError: The scheduler cannot start a command on several nodes.
        """
        raise ValueError(f"--num_nodes {nodes}: {type(self).__name__} cannot start a run on several nodes; use --num_nodes 1")

    def rendezvous(self) -> dict[str, str]:
        """Return MASTER_ADDR and MASTER_PORT: the address of the job's first node and a free port."""
        return {}

    def ranks(self) -> dict[str, str]:
        """Return LOCAL_RANK and NODE_RANK of a process that `start_on_nodes` has started."""
        return {}


class Cluster(ABC):
    """A scheduler and the options of its jobs.

    Subclasses are frozen dataclasses; their fields are the flags `--launcher.FIELD`.
    """

    context: ClassVar[type[JobContext]]
    """Class that describes a job of this scheduler to its own processes."""

    @property
    @abstractmethod
    def jobs(self) -> int:
        """Maximum number of jobs to submit for a study. Subclasses declare it as a field."""

    @abstractmethod
    def check(self) -> None:
        """Raise a ValueError if this machine cannot submit jobs."""

    @abstractmethod
    def for_run(self, needs: Needs) -> Self:
        """Return a copy with one run's nodes, processes and GPUs; raise a ValueError if a field contradicts `needs`."""

    @abstractmethod
    def script(self, array: JobArray) -> str:
        """Return the shell script of the jobs.

        It runs `job_words(array)` in the current directory and logs to `array.folder/ID.log`.
        """

    @abstractmethod
    def send(self, script: Path, array: JobArray) -> Sequence[str]:
        """Submit `script` as `array.count` jobs and return their ids.

        Raise a ValueError with the scheduler's words if the scheduler refuses the script.
        """

    @classmethod
    @abstractmethod
    def queued(cls, ids: Collection[str]) -> list[QueuedJob]:
        """Return the jobs of `ids` that are in the queue; raise a ValueError if the scheduler does not answer."""

    @classmethod
    @abstractmethod
    def cancel(cls, ids: Collection[str]) -> None:
        """Ask the scheduler to cancel the jobs `ids`; raise a ValueError if it does not answer."""

    def explain(self, refusal: str) -> str:
        """Return the error message for a refused submission: the scheduler's words, and what the cluster offers."""
        return f"the scheduler refuses: {refusal}"

    @final
    def job_words(self, array: JobArray, stop_after: int | None = None) -> list[str]:
        """Return the command of each job as words.

        The command starts `array.workers` workers, passes signals on, and requeues the job if `should_requeue` is True.

        After `stop_after` seconds the job saves its run and stops, as on SIGUSR1. Use this if the scheduler sends no
        signal before the time limit.
        """
        flags = [] if stop_after is None else ["--stop-after", str(stop_after)]
        flags += [] if array.workers == 1 else ["--workers", str(array.workers)]
        return [sys.executable, "-u", "-m", "seglab.cluster.job", *flags, class_path(self.context), *array.command]

    @final
    def submit(self, array: JobArray) -> Submission:
        """Submit jobs. Write their script, `jobs.json` and logs into the new folder `array.folder`.

        Raises:
            ValueError: The scheduler refuses. Nothing is left in the folder.
        """
        self.check()
        array.folder.mkdir(parents=True)
        script = array.folder.absolute() / "job.sh"
        write_text(script, self.script(array))
        try:
            ids = self.send(script, array)
        except ValueError as refusal:
            shutil.rmtree(array.folder)
            with contextlib.suppress(OSError):
                array.folder.parent.rmdir()  # unless it holds other submissions
            raise ValueError(self.explain(str(refusal))) from None
        submission = Submission(array.folder, tuple(ids), array.command, class_path(type(self)), array.workers)
        submission.write()
        return submission
