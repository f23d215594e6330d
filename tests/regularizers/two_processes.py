"""Run by test_two_processes.py: trains each arm on two gloo processes with Lightning's DDP, writes each rank's weights.

python two_processes.py FOLDER
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from seglab.regularizers import (
    L1,
    L2,
    Anchored,
    Constant,
    Decoupled,
    GroupLasso,
    Orthogonality,
    PerStage,
    Proximal,
    Regularizer,
    Relative,
    Scheduled,
    SmoothL1,
    Spectral,
    Sum,
)
from seglab.sample import Batch
from tests.nets import Staged, adamw, batches, fixed_module, trained

ARMS: dict[str, Regularizer] = {
    "l2": L2(0.1),
    "prox": Proximal(L1(0.02)),
    "decoupled": Decoupled(L2(0.3)),
    "group": GroupLasso(0.02),
    "prox group": Proximal(GroupLasso(0.02)),
    "anchored": Anchored(L2(0.5), new=L2(0.1)),
    "relative": Relative(SmoothL1(1.0, kappa=0.5), 0.2, after=0.0, steps=2),
    "sum": Sum(
        [PerStage({"encoder": Relative(L1(1.0), 0.3, after=0.0, steps=1)}), Scheduled(Decoupled(Orthogonality(0.1)), Constant(0.5))]
    ),
    "spectral": Spectral(0.1),
}


def own_regularizer() -> dict[str, Regularizer]:
    """A user's penalty, from a file of their own on the import path; none where there is no such file."""
    try:
        from mine import Cauchy  # type: ignore[import-not-found]
    except ImportError:
        return {}
    return {
        "own": Cauchy(0.01),
        "own wrapped": Sum([Decoupled(Anchored(Cauchy(0.01))), Relative(PerStage({"encoder": Cauchy(1.0)}), 0.1, after=0.0, steps=1)]),
    }


def train(regularizer: Regularizer, given: list[Batch], **settings: Any) -> dict[str, Tensor]:
    module = fixed_module(regularizer, adamw, net=Staged)
    module.network.pretrained = frozenset(name for name, _ in module.network.named_parameters() if name.startswith("encoder."))
    return trained(module, given, max_epochs=4, **settings)


def share(batch: Batch, rank: int) -> Batch:
    """Every second image."""
    half = slice(rank, None, 2)
    return Batch(batch.image[half], batch.mask[half], batch.name[half], batch.image_size[half], batch.mask_size[half])


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, found = Path(sys.argv[1]), {}
    for arm, regularizer in (ARMS | own_regularizer()).items():
        rank = int(os.environ.get("LOCAL_RANK", 0))
        found[arm] = train(
            regularizer, [share(batch, rank) for batch in batches()], devices=2, strategy=DDPStrategy(process_group_backend="gloo")
        )
    torch.save(found, folder / f"{os.environ.get('LOCAL_RANK', 0)}.pt")
