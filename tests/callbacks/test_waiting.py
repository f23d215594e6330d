"""On a GPU a whole training step, with the callbacks of a study, never makes the processor wait for the device."""

from collections.abc import Iterator
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from seglab.callbacks import FiniteLoss, StepRandomness, Throughput, WeightDiagnostics
from seglab.regularizers import L1, L2, Decoupled, Proximal, Regularizer
from seglab.sample import Batch
from tests.nets import Staged, adamw, batches, fixed_module
from tests.trainers import quiet_trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

REGULARIZERS: list[Regularizer | None] = [None, L2(0.1), Decoupled(L2(0.1)), Proximal(L1(0.02))]


class Strict(Callback):
    """From the third step on, every wait between two hooks is an error.

    Before it, things are made for the first time.
    """

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        torch.cuda.set_sync_debug_mode("error" if batch_idx >= 2 else "default")


class Lenient(Callback):
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def waiting_is_an_error() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


def pinned(batch: Batch) -> Batch:
    sizes = batch.image_size.pin_memory(), batch.mask_size.pin_memory()
    return Batch(batch.image.pin_memory(), batch.mask.pin_memory(), batch.name, *sizes)


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
@pytest.mark.usefixtures("waiting_is_an_error")
def test_a_step_waits_for_nothing(regularizer: Regularizer | None) -> None:
    """No row of the log is within these steps: rows read their numbers from the device."""
    callbacks = [Strict(), StepRandomness(0), FiniteLoss(), Throughput(), WeightDiagnostics(1000), Lenient()]
    trainer = quiet_trainer(accelerator="gpu", devices=1, max_epochs=1, log_every_n_steps=1000, callbacks=callbacks)
    module = fixed_module(regularizer, adamw, net=Staged)
    given: list[Batch] = [pinned(batch) for batch in batches(6)]
    trainer.fit(module, DataLoader(given, batch_size=None, collate_fn=lambda one: one))  # type: ignore[arg-type]
    assert trainer.global_step == 6
