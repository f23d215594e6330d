"""Measure the speed of a training and its wait for data, without waiting for the device."""

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from typing_extensions import override


class Throughput(Callback):
    """Logs for each epoch `perf/images_per_s`, over all ranks, and `perf/data_wait`, the fraction of time spent waiting for a batch."""

    def __init__(self) -> None:
        self._images = 0
        self._waited = 0.0
        self._spent = 0.0
        self._began = self._last = 0.0

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Continue the measurement of an interrupted epoch: count its time before the interruption, but not the interruption."""
        self._last = time.perf_counter()
        self._began = self._last - self._spent

    @override
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._images, self._waited = 0, 0.0
        self._began = self._last = time.perf_counter()

    @override
    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
        self._waited += time.perf_counter() - self._last

    @override
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._images += len(batch.name)
        self._last = time.perf_counter()

    @override
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the measurement. The time of a validation, which comes before this hook, is not counted."""
        seconds = max(self._last - self._began, 1e-9)
        values = {"perf/images_per_s": self._images * trainer.world_size / seconds, "perf/data_wait": self._waited / seconds}
        pl_module.log_dict(values, batch_size=1)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"images": self._images, "waited": self._waited, "spent": self._last - self._began}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._images, self._waited, self._spent = state_dict["images"], state_dict["waited"], state_dict["spent"]
