"""The checkpoints of a fit: `last.ckpt`, the last step, and `best.ckpt`, the step of the best validation."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from typing_extensions import override

from seglab.callbacks import ResumeCheckpoint
from seglab.callbacks.lightning_internals import continue_after_end
from seglab.checkpoints import previous
from seglab.interruption import Interruption

log = logging.getLogger("seglab")

MONITOR = "val/miou"
"""The score whose highest value makes a checkpoint the best one."""

MINUTES = 5.0
"""Wall time between two savings of `last.ckpt`."""


class FitCheckpoints(ResumeCheckpoint):
    """Saves `last.ckpt` every few minutes, at a request to stop and at the end; `best.ckpt` after a best validation.

    Every checkpoint is saved between two steps, so a fit that continues from one ends bit for bit like an uninterrupted
    fit. The checkpoint carries the settings of the fit, which `settings.check_same` compares, and the best score of the
    whole training.

    Args:
        folder: the folder of the checkpoints; None saves none.
        settings: the settings of the fit, as plain data.
        interruption: tells whether the process was asked to stop.
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Any], interruption: Interruption) -> None:
        super().__init__(Path() if folder is None else folder / "last.ckpt", MINUTES, interruption)
        self.folder = folder
        self.settings = dict(settings)
        self.best: tuple[float, int] | None = None
        """Highest score of all validations of the training, and its number of steps."""
        self.begun = False
        """True if a step was done."""
        self._is_new = False
        """True if the best validation is not saved yet."""
        self._at_end = False

    @override
    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        if self._is_new and batch_idx % trainer.accumulate_grad_batches == 0:
            self._save_best(trainer)
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    @override
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.begun = True

    @override
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        score = trainer.callback_metrics.get(MONITOR)
        if trainer.state.fn == "fit" and score is not None and (self.best is None or float(score) > self.best[0]):
            self.best, self._is_new = (float(score), trainer.global_step), True

    @override
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Ignore a signal that came with the last step: the training is complete, and `on_fit_end` saves it."""

    @override
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._at_end = True
        if self._is_new:
            self._save_best(trainer)
        self.save(trainer, self.path)
        self._at_end = False
        self.interruption.deferred = False
        if trainer.is_global_zero and self.folder is not None:
            for spare in (previous(self.folder / "last.ckpt"), previous(self.folder / "best.ckpt")):
                spare.unlink(missing_ok=True)

    @override
    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._at_end:
            continue_after_end(checkpoint)
        checkpoint["fit"] = self.settings

    @override
    def state_dict(self) -> dict[str, Any]:
        return {} if self.best is None else {"score": self.best[0], "step": self.best[1]}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = best_in(state_dict)

    def _save_best(self, trainer: L.Trainer) -> None:
        self._is_new = False
        if self.folder is None:
            return
        before, batch = self._saved_at, not self._at_end
        (self.save_before_batch if batch else self.save)(trainer, self.folder / "best.ckpt")
        self._saved_at = before

    @override
    def save(self, trainer: L.Trainer, path: Path) -> None:
        if self.folder is not None:
            super().save(trainer, path)


def best_in(state: Mapping[str, Any]) -> tuple[float, int] | None:
    """Return the best score and its step in the state of a `FitCheckpoints`."""
    return (float(state["score"]), int(state["step"])) if "score" in state else None


def best_of(held: Mapping[str, Any]) -> tuple[float, int] | None:
    """Return the best score and its step in the content of a checkpoint."""
    states: Mapping[str, Any] = held.get("callbacks", {})
    return best_in(states.get(FitCheckpoints.__qualname__, {}))


def take_over_best(path: Path, held: Mapping[str, Any], folder: Path) -> None:
    """Copy the best checkpoint of the training up to now into the new folder of a fit that continues.

    Args:
        path: the checkpoint from which the fit continues.
        held: its content.
        folder: the new folder of checkpoints.
    """
    best = best_of(held)
    if best is None:
        return
    for candidate in (path, path.with_name("best.ckpt")):
        if candidate.is_file() and _is_of(candidate, best):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(candidate, folder / "best.ckpt")
            return
    log.warning(
        "%s: the best checkpoint up to now, %s %.4f after step %d, is not beside it; there will be a best.ckpt once a validation is better",
        path,
        MONITOR,
        *best,
    )


def _is_of(candidate: Path, best: tuple[float, int]) -> bool:
    """Return whether a file is the checkpoint of the validation with this score after this step."""
    try:
        there = torch.load(candidate, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # noqa: BLE001 - a damaged file fails in any way
        return False
    return best_of(there) == best and there.get("global_step") == best[1]
