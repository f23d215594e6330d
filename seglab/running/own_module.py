"""Check what a module of the user's own class overrides: scores, penalties and the record have to stay true."""

import lightning as L
from torch.utils.data import DataLoader

from seglab.callbacks.step_order import StepOrder
from seglab.module import ScoredSplit, SegmentationModule
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
        _check_scores(trainer, module, val)


def _check_scores(trainer: L.Trainer, module: SegmentationModule, val: Batch) -> None:
    """Check that evaluations count each image once, after the validation of the images `val`."""
    name = type(module).__name__
    steps: dict[ScoredSplit, str] = {"val": "validation_step"}
    if type(module).test_step is not SegmentationModule.test_step:
        trainer.test(module, DataLoader([val], batch_size=None), verbose=False)  # type: ignore[arg-type]
        steps["test"] = "test_step"
    for split, step in steps.items():
        if len(module.evaluation(split).names) != len(val.name):
            raise ValueError(f"{name}.{step} leaves the images out of the scores: call super().{step}(batch, batch_idx) in it")
    module.on_validation_epoch_start()
    if module.evaluation("val").names:
        raise ValueError(
            f"{name}.on_validation_epoch_start leaves the images of the last validation in the scores: call "
            "super().on_validation_epoch_start() in it"
        )
