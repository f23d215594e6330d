"""A job of Grid Engine from within. No torch."""

import os
import signal
from collections.abc import Collection
from dataclasses import dataclass
from typing import final

from typing_extensions import override

from seglab.cluster.cluster import JobContext

QUEUE_AGAIN = 99
"""Exit code by which a job asks Grid Engine to requeue it (sge_diagnostics(1))."""


@final
@dataclass(frozen=True)
class GridEngineJob(JobContext):
    """The job that Grid Engine's environment variables describe."""

    number: str
    """JOB_ID, which the tasks of an array share."""
    task: str
    """SGE_TASK_ID; `undefined` outside of an array."""

    @classmethod
    @override
    def current(cls) -> "GridEngineJob | None":
        number, task = os.environ.get("JOB_ID"), os.environ.get("SGE_TASK_ID")
        return None if number is None or task is None else cls(number, task)

    @property
    @override
    def id(self) -> str:
        return self.number if self.task == "undefined" else f"{self.number}.{self.task}"

    @property
    @override
    def restarts(self) -> int:
        """0 or 1: Grid Engine reports that the job was requeued, but not how many times."""
        return int(os.environ.get("RESTARTED", 0))

    @property
    @override
    def cores(self) -> int:
        return int(os.environ.get("NSLOTS", 1))

    @override
    def should_requeue(self, signals: Collection[int]) -> bool:
        """Return whether SIGUSR1 came, and SIGUSR2 did not.

        With option -notify of qsub, SIGUSR1 comes before a suspension or at the time limit, and SIGUSR2 before a
        deletion.
        """
        return signal.SIGUSR1 in signals and signal.SIGUSR2 not in signals

    @override
    def requeue(self) -> int:
        return QUEUE_AGAIN
