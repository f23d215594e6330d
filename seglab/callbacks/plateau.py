"""The configuration of a `ReduceLROnPlateau`, which watches a metric of the validation."""

from collections.abc import Sequence
from typing import Any

import lightning as L
from torch.optim.lr_scheduler import ReduceLROnPlateau

from seglab.compare.metric import SCORES


def watched(scheduler: ReduceLROnPlateau) -> str:
    """Return the metric that a scheduler watches. Lightning's subclass has it as its `monitor`."""
    return str(getattr(scheduler, "monitor", "val/miou" if scheduler.mode == "max" else "val/loss"))


def plateau_config(trainer: L.Trainer, scheduler: ReduceLROnPlateau, names: Sequence[str]) -> dict[str, Any]:
    """Return Lightning's configuration of a scheduler that is updated after each validation.

    Args:
        trainer: the trainer, whose validations count.
        scheduler: the scheduler.
        names: names of all metrics that are logged.

    Raises:
        ValueError: the metric is never logged, or the mode contradicts it.
    """
    monitor = watched(scheduler)
    if monitor not in names:
        raise ValueError(
            f"ReduceLROnPlateau watches {monitor}, which is not logged; there are {', '.join(names)}. "
            "A module that logs other metrics returns their names from `metric_names`"
        )
    if not trainer.enable_validation:
        raise ValueError(f"ReduceLROnPlateau watches {monitor} after each validation, and this training has none: give it validation data")
    score = SCORES.get(monitor.partition("/")[2].partition("/")[0])
    if score is not None and score.smaller_is_better != (scheduler.mode == "min"):
        better = "smaller" if score.smaller_is_better else "larger"
        mode = "min" if score.smaller_is_better else "max"
        raise ValueError(
            f"ReduceLROnPlateau watches {monitor} in the mode {scheduler.mode!r}, but {better} values are better: give mode={mode!r}"
        )
    return {"scheduler": scheduler, "interval": "epoch", "frequency": trainer.check_val_every_n_epoch or 1, "monitor": monitor}
