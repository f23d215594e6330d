"""Makes all randomness on the device a function of (seed, step, rank)."""

from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from typing_extensions import override


class StepRandomness(Callback):
    """Reseeds torch before each training step, so that dropout and drop-path do not depend on what was drawn before."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @override
    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        step = trainer.fit_loop.epoch_loop.total_batch_idx
        state = np.random.SeedSequence([self.seed, step, trainer.global_rank]).generate_state(2, np.uint32)
        torch.manual_seed(int(state[0]) << 32 | int(state[1]))
