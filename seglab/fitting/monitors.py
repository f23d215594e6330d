"""Check, before a training, that the metrics exist that its callbacks watch."""

import lightning as L
from lightning.pytorch.callbacks import Callback

from seglab.module import SegmentationModule
from seglab.study.names import functions_of, is_own


def check_monitors(trainer: L.Trainer, module: SegmentationModule, class_names: tuple[str, ...]) -> None:
    """Check that each metric that a callback monitors will be logged.

    A callback of the user's own whose code logs may log metrics of any name, so nothing is checked beside one.

    Raises:
        ValueError: a metric does not exist; the message lists those that do.
    """
    callbacks: list[Callback] = list(trainer.callbacks)  # type: ignore[attr-defined]
    if any(_logs(type(callback)) for callback in callbacks):
        return
    names = module.metric_names(class_names)
    if trainer.limit_val_batches == 0:
        names = [name for name in names if not name.startswith("val/")]
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor not in names:
            raise ValueError(f"{type(callback).__name__}: there is no metric {monitor!r} to monitor; this training logs {', '.join(names)}")


def _logs(kind: type[Callback]) -> bool:
    """Return whether the code of a user's callback names a way to log a metric."""
    own = [base for base in kind.__mro__ if is_own(base)]
    used = {name for base in own for function in functions_of(base) for name in function.__code__.co_names}
    return bool(used & {"log", "log_dict", "callback_metrics"})
