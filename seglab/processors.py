"""Number of processors that a process may use. No torch."""

import os

SHARE = "SEGLAB_PROCESSORS"
"""Environment variable with the number of processors of a run. `run` sets it for its workers, which share a machine."""


def available_cpus() -> int:
    """Return the number of processors that this process may use: of runs that share a machine, its share."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = os.environ.get(SHARE, "")
    return min(allowed, int(share)) if share.isdigit() and int(share) > 0 else allowed
