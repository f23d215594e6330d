"""Forget what other launchers have written into the environment of this process.

A shell within a job of Slurm, `mpirun`, `torchrun` or an agent of a W&B sweep describes ranks and runs by environment
variables. Lightning, torch and W&B obey them, and a training that the user starts by hand would become rank 3 of 4, or
a run of another name. Seglab starts its ranks itself, and names its runs itself. It obeys such variables only in
`execute`, the process of a rank, where seglab has set them.
"""

import os
import re
from collections.abc import MutableMapping

from seglab.callbacks.lightning_internals import become_rank_zero
from seglab.cluster.here import CLUSTERS
from seglab.wandb_variables import is_followed

RANKS = re.compile(
    "(LOCAL_|GROUP_|NODE_|ROLE_)?RANK|(LOCAL_|GROUP_|ROLE_)?WORLD_SIZE|ROLE_NAME|MASTER_(ADDR|PORT)|STANDALONE_PORT"  # torch, Lightning
    "|TORCHELASTIC_.*|TORCHCOMM_(RANK|SIZE)"
    "|PL_(GLOBAL_SEED|SEED_WORKERS)"
    "|OMPI_COMM_WORLD_.*|PMI_.*|PMIX_.*|MPI_LOCAL(RANKID|NRANKS)|JSM_NAMESPACE_.*"
)
"""Variables that give a process its rank. Those of schedulers are `JobContext.rank_variables`; what describes the job
itself stays.
"""


def forget_other_launchers(environment: MutableMapping[str, str] = os.environ) -> None:
    """Delete the variables by which other launchers describe ranks and runs, and make this process rank 0."""
    forget_ranks(environment)
    for name in list(environment):
        if name.startswith("WANDB_") and not is_followed(name):
            del environment[name]


def forget_ranks(environment: MutableMapping[str, str] = os.environ) -> None:
    """Delete the variables that give this process a rank, and make it rank 0."""
    of_schedulers = {name for cluster in CLUSTERS for name in cluster.context.rank_variables}
    for name in list(environment):
        if RANKS.fullmatch(name) or name in of_schedulers:
            del environment[name]
    become_rank_zero()
