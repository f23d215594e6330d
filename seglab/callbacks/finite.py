"""Stop a training whose loss is NaN or infinite. Lightning would continue to the end and report success."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from typing_extensions import override


class NonFiniteLossError(ArithmeticError):
    """The loss, the logits or the weights of a training are NaN or infinite."""


class FiniteLoss(Callback):
    """Raises `NonFiniteLossError` on all ranks together if a loss is not finite.

    On a CPU every step is checked. On a GPU a check waits for the device. There the steps since the last check are
    checked at each logging interval, at the end of an epoch and before a checkpoint is saved.
    """

    def __init__(self) -> None:
        self._bad: torch.Tensor | None = None

    @override
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        bad = ~torch.isfinite(outputs["loss"].detach())
        self._bad = bad if self._bad is None else self._bad | bad
        every = 1 if pl_module.device.type == "cpu" else max(1, trainer.log_every_n_steps)  # type: ignore[attr-defined]
        if trainer.world_size == 1 and (batch_idx + 1) % every == 0:
            self._look(trainer, pl_module)

    @override
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._look(trainer, pl_module)

    @override
    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check the weights, because no training loss is computed after the last update."""
        finite = all(bool(torch.isfinite(tensor).all()) for tensor in pl_module.state_dict().values() if tensor.is_floating_point())
        if trainer.strategy.reduce_boolean_decision(not finite, all=False):
            raise NonFiniteLossError("the trained weights are not finite; lower the learning rate, or clip gradients")

    @override
    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Check the losses before saving, because a resumed training does not know them."""
        self._look(trainer, pl_module)

    def _look(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        bad = self._bad is not None and bool(self._bad)
        self._bad = None
        if trainer.strategy.reduce_boolean_decision(bad, all=False):
            raise NonFiniteLossError(
                f"the training loss is NaN or infinite (epoch {trainer.current_epoch}, step {trainer.global_step}); "
                "lower the learning rate, clip gradients, or look for images with extreme values"
            )
