"""Measure the speed of a training and its wait for data, without waiting for the device."""

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

MUCH_WAITING = 0.1
"""Fraction of the training time spent waiting for data above which advice is given."""

LONG_WAITING = 10.0
"""Seconds of waiting below which no advice is given, because the first batch of a training always takes time."""


class Throughput(Callback):
    """Logs `perf/images_per_s`, over all ranks, and `perf/data_wait` for each epoch.

    `perf/data_wait` is the fraction of time spent waiting for a batch.

    A training that waits much ends with one line of advice. The time before an interruption is not counted in it.
    """

    def __init__(self) -> None:
        self._waits: list[tuple[float, float]] = []  # seconds of waiting, and seconds, of each epoch
        self._images = 0
        self._waited = 0.0
        self._spent = 0.0
        self._began = self._last = 0.0

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Continue the measurement of an interrupted epoch: count the time before the interruption, not the pause."""
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
        self._waits.append((self._waited, seconds))

    @override
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        waited, spent = (sum(values) for values in zip(*self._waits, strict=True)) if self._waits else (0.0, 0.0)
        if trainer.is_global_zero and (line := advice(waited, spent)) is not None:
            bar = trainer.progress_bar_callback
            (print if bar is None else bar.print)(line)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"images": self._images, "waited": self._waited, "spent": self._last - self._began}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._images, self._waited, self._spent = state_dict["images"], state_dict["waited"], state_dict["spent"]


def advice(waited: float, spent: float) -> str | None:
    """Return a line on what to do about the waiting for data; None if a training does not wait much.

    Args:
        waited: seconds of waiting for batches.
        spent: seconds of training, with the waiting.

    >>> advice(30.0, 120.0)
    '25 % of the training time was spent waiting for data (perf/data_wait): --data.num_workers prepares batches in more processes, --data.cache true decodes each image once, and a smaller --data.size or a lighter --data.augmentation takes less work'
    >>> advice(5.0, 10.0), advice(30.0, 3000.0)
    (None, None)
    """
    if waited < LONG_WAITING or waited <= MUCH_WAITING * spent:
        return None
    return (
        f"{100 * waited / spent:.0f} % of the training time was spent waiting for data (perf/data_wait): --data.num_workers prepares batches "
        "in more processes, --data.cache true decodes each image once, and a smaller --data.size or a lighter --data.augmentation takes "
        "less work"
    )
