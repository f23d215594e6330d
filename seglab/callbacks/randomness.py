"""Seed all random draws on the device by (seed, step, rank)."""

from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from seglab.callbacks.lightning_internals import batches_started


class StepRandomness(Callback):
    """Seeds torch before each training batch, so that dropout and drop-path do not depend on earlier random draws.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @override
    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        state = np.random.SeedSequence([self.seed, batches_started(trainer), trainer.global_rank]).generate_state(2, np.uint32)
        _seed(int(state[0]) << 32 | int(state[1]), pl_module.device)


def _seed(seed: int, device: torch.device) -> None:
    """Seed the generators of the CPU and of the device, as `torch.manual_seed` does.

    That function also seeds all other kinds of devices. For each kind that this machine lacks it stores a call with its
    stack, which takes longer than all other work of a callback.
    """
    if device.type not in ("cpu", "cuda"):
        torch.manual_seed(seed)
        return
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
    torch.default_generator.manual_seed(seed)
