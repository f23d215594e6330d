"""Find the processes of a fit, and the one that started the others.

A launcher such as `torchrun` or `mpirun` tells each of its processes its rank in environment variables. These variables
also reach a `seglab fit` that somebody types in the shell of such a job, where they mean nothing: Lightning would wait
for ranks that nobody starts.
"""

import os

import lightning as L
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from seglab.cluster.here import CLUSTERS
from seglab.script.inherited import forget_ranks

_PARENT = "SEGLAB_FIT_PROCESS"
"""Environment variable with the process that launches the ranks of a fit. The ranks inherit it."""


def settle_processes(wanted: L.Trainer) -> ClusterEnvironment | None:
    """Decide who launches the ranks of a training; return Lightning's object for it, or None to let Lightning find it.

    Variables of a launcher count if the launcher has started as many processes as the training has, or if the training
    has several nodes. Otherwise they are removed from the environment of this process and of the ranks that it starts.

    Args:
        wanted: a trainer with the devices and nodes that were asked for.
    """
    if wanted.num_nodes > 1:
        return None
    if os.environ.get(_PARENT) == str(os.getppid()):  # a rank that Lightning has started by repeating the command
        return LightningEnvironment()
    if wanted.num_devices > 1 and "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE") == str(wanted.num_devices):
        return None
    if wanted.num_devices > 1 and any(cluster.context.is_rank_of(wanted.num_devices) for cluster in CLUSTERS):
        return SLURMEnvironment(auto_requeue=False)
    forget_ranks()
    os.environ[_PARENT] = str(os.getpid())
    return LightningEnvironment()
