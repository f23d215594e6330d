"""Check, before a training, that the metrics exist that its callbacks watch."""

import lightning as L
from lightning.pytorch.callbacks import Callback

from seglab.module import SegmentationModule


def check_monitors(trainer: L.Trainer, module: SegmentationModule, class_names: tuple[str, ...]) -> None:
    """Check that each metric that a callback monitors will be logged.

    A callback of the user's own may log metrics of any name, so nothing is checked beside one.

    Raises:
        ValueError: a metric does not exist; the message lists those that do.
    """
    callbacks: list[Callback] = list(trainer.callbacks)  # type: ignore[attr-defined]
    if any(type(callback).__module__.partition(".")[0] not in ("lightning", "pytorch_lightning", "seglab") for callback in callbacks):
        return
    names = module.metric_names(class_names)
    if trainer.limit_val_batches == 0:  # type: ignore[attr-defined]
        names = [name for name in names if not name.startswith("val/")]
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor not in names:
            raise ValueError(f"{type(callback).__name__}: there is no metric {monitor!r} to monitor; this training logs {', '.join(names)}")
