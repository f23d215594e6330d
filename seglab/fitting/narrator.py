"""Print what a fit trains, and a line for each validation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from seglab.data import SegmentationDataModule
from seglab.fitting.keeper import MONITOR, FitCheckpoints
from seglab.module import SegmentationModule
from seglab.running.status import count


def described(module: SegmentationModule, data: SegmentationDataModule, settings: Mapping[str, Any], folder: Path | None) -> str:
    """Return a line on what is trained, on what, for how long, and where the results will be."""
    parameters = sum(parameter.numel() for parameter in module.network.parameters())
    steps, per_epoch = settings["steps"], settings["steps_per_epoch"]
    samples, epochs = len(data.used("train")), -(-steps // per_epoch)
    return (
        f"training {type(module.network).__name__} ({parameters:,} parameters) with {type(module.loss).__name__} on "
        f"{type(data.declared_source).__name__}: {samples} images, {data.num_classes} classes; {count(epochs, 'epoch')} of {count(per_epoch, 'step')}"
        f"{'' if folder is None else f', in {folder}'}"
    )


class Narrator(Callback):
    """Prints a line at the start of a training, and one after each validation."""

    def __init__(self, what: str, keeper: FitCheckpoints) -> None:
        self.what = what
        self.keeper = keeper

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        _say(trainer, self.what)

    @override
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        found = trainer.callback_metrics
        if trainer.state.fn == "fit" and MONITOR in found:
            best = self.keeper.best is not None and self.keeper.best[1] == trainer.global_step
            scores = ", ".join(f"{name} {float(found[name]):.4f}" for name in (MONITOR, "val/loss", "train/loss") if name in found)
            _say(trainer, f"epoch {trainer.current_epoch + 1}, step {trainer.global_step}: {scores}{' (best)' if best else ''}")


def _say(trainer: L.Trainer, line: str) -> None:
    """Print a line on the first rank, above the progress bar if there is one."""
    if trainer.is_global_zero:
        bar = trainer.progress_bar_callback
        (print if bar is None else bar.print)(line)
