"""Progress of a training, in a file that `run` and `status` read during the training."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from seglab.files import atomic_write


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
            # a full disk stops the report, not the training
            with contextlib.suppress(OSError), atomic_write(self.path, durable=False) as file:
                file.write((json.dumps(progress) + "\n").encode())
