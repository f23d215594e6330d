"""Check what a module of the user's own class overrides: scores, penalties and the record have to stay true."""

import lightning as L

from seglab.callbacks.step_order import StepOrder
from seglab.module import SegmentationModule
from seglab.sample import Batch


def check_own_module(trainer: L.Trainer, module: SegmentationModule, val: Batch | None) -> None:
    """Check what a subclass of `SegmentationModule` has overridden, after a step and an evaluation by this trainer.

    Args:
        trainer: the trainer of the trial.
        module: the module.
        val: the images that were evaluated; None if there were none.

    Raises:
        ValueError: a method leaves out what the method of `SegmentationModule` does.
    """
    name = type(module).__name__
    if not any(isinstance(callback, StepOrder) for callback in trainer.callbacks):  # type: ignore[attr-defined]
        raise ValueError(
            f"{name}.configure_callbacks leaves out the callback that applies penalty and schedule: return [*super().configure_callbacks(), ...]"
        )
    used, described = trainer.optimizers[0], module.make_optimizer()
    if type(used) is not type(described) or repr(used.defaults) != repr(described.defaults):
        raise ValueError(
            f"{name}.configure_optimizers trains with another optimizer than the one that the record names: leave the method out, and give "
            "optimizer= and scheduler= to SegmentationModule"
        )
    if val is not None:
        if len(module.evaluation("val").names) != len(val.name):
            raise ValueError(
                f"{name}.validation_step leaves the images out of the scores: call super().validation_step(batch, batch_idx) in it"
            )
        module.on_validation_epoch_start()
        if module.evaluation("val").names:
            raise ValueError(
                f"{name}.on_validation_epoch_start leaves the images of the last validation in the scores: call "
                "super().on_validation_epoch_start() in it"
            )
