"""A training that is killed or asked to stop goes on later, and ends as if it had never been interrupted."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from typing_extensions import override

from seglab.callbacks.ranks import AnyRank
from seglab.interruption import Interrupted, Interruption
from seglab.tracking import restore_rows, written_rows


class ResumeCheckpoint(Callback):
    """Saves, every few minutes and when the process is asked to stop, all that a training needs to go on.

    It does so when the first batch of an optimizer step has come, before anything is done with it: then all of the last step has
    happened, its rows in the log, a validation and the end of its epoch included. All ranks save at the same step, as the first
    decides. Asked to stop while it validates, a training does so at the next batch, and validates from the first one when it goes on.

    What a module averages over an epoch, by `self.log(..., on_epoch=True)` in its training step, no checkpoint of Lightning holds: such
    a training is saved between epochs alone, and stops elsewhere without a checkpoint.

    Args:
        path: of the checkpoint; `trainer.fit(ckpt_path=...)` goes on from it.
        minutes: of wall time between two checkpoints; 0 saves before every step, or every other one of several GPUs.
        interruption: what is asked whether to stop.
    """

    def __init__(self, path: Path, minutes: float, interruption: Interruption) -> None:
        self.path = path
        self.seconds = 60 * minutes
        self.interruption = interruption
        self._saved_at = 0.0
        self._any_rank: Callable[[bool], bool] = bool
        self._common_batches = 0
        """How many batches of a validation every rank has."""

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._saved_at = time.monotonic()
        self._any_rank = AnyRank(trainer.strategy.root_device) if trainer.world_size > 1 else bool
        self.interruption.deferred = True

    @override
    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx % trainer.accumulate_grad_batches != 0:
            return
        due = trainer.is_global_zero and time.monotonic() - self._saved_at >= self.seconds
        if self._any_rank(due or self.interruption.asked):
            if batch_idx == 0 or not _averages_over_epoch(trainer):
                self._save(trainer)
            if trainer.strategy.reduce_boolean_decision(self.interruption.asked, all=False):
                raise Interrupted

    @override
    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
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
            if not _averages_over_epoch(trainer):
                self._save(trainer)
            raise Interrupted

    @override
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.interruption.stop_deferring()

    @override
    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.interruption.deferred = False

    @override
    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        before = before_the_validation if trainer.validating else before_the_batch
        before(checkpoint["loops"]["fit_loop"])
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):
                checkpoint["metrics"] = written_rows(logger)

    @override
    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """The log is what it was: rows of steps that are about to be repeated are gone, and so is half a row."""
        if trainer.loggers and "metrics" in checkpoint:
            restore_rows(trainer.loggers, checkpoint["metrics"])

    def _save(self, trainer: L.Trainer) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved_at = time.monotonic()


def before_the_batch(fit_loop: dict[str, Any]) -> None:
    """Change a fit loop's state, taken when a batch is about to begin, to what it was before that batch was asked for.

    Before the first batch of an epoch that is between two epochs: the new one begins again, and its hooks are called.
    """
    batches = fit_loop["epoch_loop.batch_progress"]
    batches["is_last_batch"] = False
    for count in (batches["total"], batches["current"]):
        count["ready"] = count["completed"]
    for loader in fit_loop["state_dict"]["combined_loader"]:
        loader["batches"] -= 1
    if batches["current"]["completed"] == 0:
        for count in (fit_loop["epoch_progress"]["total"], fit_loop["epoch_progress"]["current"]):
            count["ready"] = count["started"] = count["completed"]


def before_the_validation(fit_loop: dict[str, Any]) -> None:
    """Change a fit loop's state, taken in a validation, so that Lightning finds it interrupted there, with none of its batches done."""
    batches = fit_loop["epoch_loop.val_loop.batch_progress"]
    batches["is_last_batch"] = False
    batches["current"] = dict.fromkeys(batches["current"], 0)
    batches["total"] = {**batches["current"], "ready": 1, "started": 1}


def _averages_over_epoch(trainer: L.Trainer) -> bool:
    """Whether something has been gathered since the epoch began that is logged when it ends."""
    return any(metric.meta.on_epoch and not metric.has_reset for metric in trainer.fit_loop.epoch_loop._results.result_metrics)
