"""Schedulers: submit jobs, and describe a job to its own processes.

A scheduler of your own subclasses `Cluster` and `JobContext` (docs/howto/schedulers.md).
"""

from seglab.cluster.cluster import Cluster, JobArray, JobContext, Needs, QueuedJob, Submission

__all__ = ["Cluster", "JobArray", "JobContext", "Needs", "QueuedJob", "Submission"]
