"""Checks of a run on several nodes. No torch."""

import os
import socket

from seglab.cluster.cluster import JobContext
from seglab.cluster.here import job_here


def job_with_nodes(wanted: int) -> JobContext:
    """Return the job that this process runs in; raise a ValueError without a job or below `wanted` nodes."""
    job = job_here()
    if job is None:
        raise ValueError(
            f"--num_nodes {wanted}: only a job of a cluster has several nodes; "
            f"`launch` submits one, or `run` within an interactive job of {wanted} nodes"
        )
    if job.nodes < wanted:
        raise ValueError(f"--num_nodes {wanted}: this job has {job.nodes}; ask for more nodes, or give a run fewer")
    return job


def check_reachable() -> None:
    """Raise a ValueError if this machine cannot resolve the address of rank 0's machine.

    PyTorch would wait without a message.
    """
    first = os.environ["MASTER_ADDR"]
    try:
        socket.getaddrinfo(first, int(os.environ["MASTER_PORT"]))
    except OSError as error:
        raise ValueError(
            f"{socket.gethostname()} cannot find {first}, the machine of the first rank: {error}; ask the cluster's admin"
        ) from None
