"""Which processes a fit has, and which of them started the others.

A launcher such as `srun`, `torchrun` or `mpirun` tells each of its processes its rank in environment variables. These variables also reach
a `seglab fit` that somebody types in the shell of such a job, where they mean nothing: Lightning would wait for ranks that nobody starts.
"""

import os

import lightning as L
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_only

_PARENT = "SEGLAB_FIT_PROCESS"
"""Environment variable with the process that launches the ranks of a fit. The ranks inherit it."""

_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_OTHER_RANKS = ("SLURM_PROCID", "SLURM_LOCALID", "JSM_NAMESPACE_RANK")
_WANDB_RUN = ("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_DIR")


def settle_processes(wanted: L.Trainer) -> ClusterEnvironment | None:
    """Decide who launches the ranks of a training; return Lightning's object for it, or None to let Lightning find it.

    Variables of a launcher count if the launcher has started as many processes as the training has, or if the training has several nodes.
    Otherwise they are removed from the environment of this process and of the ranks that it starts.

    Args:
        wanted: a trainer with the devices and nodes that were asked for.
    """
    if wanted.num_nodes > 1:
        return None
    if os.environ.get(_PARENT) == str(os.getppid()):  # a rank that Lightning has started by repeating the command
        return LightningEnvironment()
    if wanted.num_devices > 1 and "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE") == str(wanted.num_devices):
        return None
    if wanted.num_devices > 1 and "SLURM_STEP_ID" in os.environ and os.environ.get("SLURM_NTASKS") == str(wanted.num_devices):
        return SLURMEnvironment(auto_requeue=False)
    for name in (*_RANKS, *_OTHER_RANKS):
        os.environ.pop(name, None)
    rank_zero_only.rank = 0  # type: ignore[attr-defined]  # Lightning has read it from the environment at its import
    os.environ[_PARENT] = str(os.getpid())
    return LightningEnvironment()


def forget_wandb_run() -> None:
    """Remove the variables that name a W&B run, unless an agent of a sweep has started this process.

    Otherwise a fit in a shell of another run would write into that run, or into its folder.
    """
    if "WANDB_SWEEP_ID" not in os.environ:
        for name in _WANDB_RUN:
            os.environ.pop(name, None)
