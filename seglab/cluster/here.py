"""Find the scheduler of this machine among the schedulers that seglab knows. No torch."""

import os

from seglab.cluster.cluster import Cluster, JobContext
from seglab.cluster.command import class_at
from seglab.cluster.gridengine import GridEngine
from seglab.cluster.slurm import Slurm

CLUSTERS = (Slurm, GridEngine)

CONTEXT = "SEGLAB_JOB_CONTEXT"
"""Environment variable with the import path of the job's `JobContext`. It is set in jobs that `launch` submitted and in
their children.
"""


def cluster_here() -> Cluster:
    """Return the first known cluster to which this machine can submit jobs.

    If there is none, return the first known cluster.
    """
    for made in (cluster() for cluster in CLUSTERS):
        try:
            made.check()
        except ValueError:
            continue
        return made
    return CLUSTERS[0]()


def job_here() -> JobContext | None:
    """Return the job that this process runs in, interactive jobs of known schedulers included; None outside a job."""
    path = os.environ.get(CONTEXT)
    kinds = [class_at(path, JobContext)] if path else []  # type: ignore[type-abstract]
    return next((job for kind in (*kinds, *(cluster.context for cluster in CLUSTERS)) if (job := kind.current()) is not None), None)
