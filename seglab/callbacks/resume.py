"""Save the state that an interrupted training needs to continue, with the result of an uninterrupted training."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from seglab.callbacks.lightning_internals import align_logged_steps, averages_over_epoch, rewind_batch, rewind_validation
from seglab.callbacks.ranks import AnyRank
from seglab.callbacks.trainee import ResumableLog
from seglab.interruption import Interrupted, Interruption


class ResumeCheckpoint(Callback):
    """Saves a checkpoint every few minutes and when the process is asked to stop; then raises `Interrupted`.

    Saves on the first micro-batch of an optimizer step, before that batch is used. At this moment the previous step is
    complete: its log rows are written, and validation and end-of-epoch hooks have run. All ranks save at the same step,
    which the first rank chooses. A training that is asked to stop within a validation stops at the next validation
    batch, and a restart validates from the first batch.

    No checkpoint of Lightning holds the values that `self.log(..., on_epoch=True)` collects in a training step. A
    module that logs such values is saved between epochs only. If it is asked to stop within an epoch, it stops without
    saving.

    Args:
        path: file of the checkpoint; `trainer.fit(ckpt_path=path)` continues from it.
        minutes: wall time between two checkpoints; 0 saves before every step (every second step on several GPUs).
        interruption: tells whether the process was asked to stop.
    """

    def __init__(self, path: Path, minutes: float, interruption: Interruption) -> None:
        self.path = path
        self.seconds = 60 * minutes
        self.interruption = interruption
        self._saved_at = 0.0
        self._at_batch_start = False
        """True if a checkpoint is being saved before a training batch. A user's own callbacks may save at other
        moments.
        """
        self._any_rank: Callable[[bool], bool] = bool
        self._common_batches = 0
        """Number of validation batches that every rank has."""

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.interruption.listen_again()
        self._saved_at = time.monotonic()
        self._any_rank = AnyRank(trainer.strategy.root_device) if trainer.world_size > 1 else bool
        self.interruption.deferred = True

    @override
    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx % trainer.accumulate_grad_batches != 0:
            return
        align_logged_steps(trainer)
        due = trainer.is_global_zero and time.monotonic() - self._saved_at >= self.seconds
        if self._any_rank(due or self.interruption.asked):
            if batch_idx == 0 or not averages_over_epoch(trainer):
                self.save_before_batch(trainer, self.path)
            if trainer.strategy.reduce_boolean_decision(self.interruption.asked, all=False):
                raise Interrupted

    @override
    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.interruption.listen_again()
        batches = torch.tensor(sum(trainer.num_val_batches), device=trainer.strategy.root_device)
        self._common_batches = int(trainer.strategy.reduce(batches, reduce_op="min"))

    @override
    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.state.fn != "fit" or batch_idx >= self._common_batches:
            return
        asked = self.interruption.asked
        if self._any_rank(asked) and trainer.strategy.reduce_boolean_decision(asked, all=False):
            if not averages_over_epoch(trainer):
                self.save(trainer, self.path)
            raise Interrupted

    @override
    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.interruption.listen_again()

    @override
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.interruption.stop_deferring()

    @override
    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.interruption.deferred = False

    @override
    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.validating:
            rewind_validation(checkpoint)
        elif self._at_batch_start:
            rewind_batch(checkpoint)
        for logger in trainer.loggers:
            if isinstance(logger, ResumableLog) and (rows := logger.rows()) is not None:
                checkpoint["metrics"] = rows

    @override
    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remove log rows of steps that will be repeated, and a half-written row."""
        if "metrics" in checkpoint:
            for logger in trainer.loggers:
                if isinstance(logger, ResumableLog):
                    logger.restore(checkpoint["metrics"])

    def save_before_batch(self, trainer: L.Trainer, path: Path) -> None:
        """Save a checkpoint from which a resumed training begins with the present batch."""
        self._at_batch_start = True
        try:
            self.save(trainer, path)
        finally:
            self._at_batch_start = False

    def save(self, trainer: L.Trainer, path: Path) -> None:
        """Save a checkpoint of this moment."""
        trainer.save_checkpoint(path, weights_only=False)
        self._saved_at = time.monotonic()
