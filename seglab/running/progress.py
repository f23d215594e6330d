"""How much of a training is done, in a file that `run` and `status` read while it goes on."""

import json
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from typing_extensions import override


class ProgressFile(Callback):
    """Writes `progress.json` of a run, at most twice a second."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "progress.json"
        self._last = 0.0

    @override
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.monotonic()
        if trainer.is_global_zero and now - self._last >= 0.5:
            self._last = now
            progress = {"done": trainer.global_step, "all": int(trainer.estimated_stepping_batches), "epoch": trainer.current_epoch}
            part = self.path.with_suffix(".part")
            try:
                part.write_text(json.dumps(progress) + "\n")
                part.replace(self.path)
            except OSError:  # a full disk stops the report, not the training
                part.unlink(missing_ok=True)
