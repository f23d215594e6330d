"""Refuse trainers under which a training would be another one than its settings say."""

import lightning as L
from lightning.pytorch.callbacks import GradientAccumulationScheduler


def check_accumulation(trainer: L.Trainer) -> None:
    """Check that every epoch accumulates the same number of batches.

    Raises:
        ValueError: a `GradientAccumulationScheduler` changes the number. Lightning's count of steps ignores it, so that
            schedules would be planned for a longer training than this one.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, GradientAccumulationScheduler) and callback.going_to_accumulate_grad_batches():
            raise ValueError(
                f"GradientAccumulationScheduler({callback.scheduling}) changes the number of optimizer steps of an epoch, on which schedules "
                "depend: give the Trainer accumulate_grad_batches, the same for all epochs"
            )


def check_precision(trainer: L.Trainer) -> None:
    """Check that the weights are not in half precision.

    Images are normalised in float32, and so the first layer would fail.

    Raises:
        ValueError: they are.
    """
    if str(trainer.precision) in ("16-true", "bf16-true"):
        mixed = str(trainer.precision).replace("true", "mixed")
        raise ValueError(
            f"precision {trainer.precision} holds the weights in half precision, in which small updates are lost: use {mixed}, which computes "
            "in half precision and holds the weights in float32"
        )


def check_unused(trainer: L.Trainer) -> None:
    """Check that a trainer begins a training, or continues one from a checkpoint.

    Raises:
        ValueError: it has trained already. Lightning would make a new optimizer and scheduler and count on from the
            last step, or do nothing at all if that was the end.
    """
    if trainer.ckpt_path is None and trainer.global_step > 0:
        raise ValueError(
            f"this Trainer has already trained {trainer.global_step} steps: make a new Trainer for each training, or continue this one with "
            "trainer.fit(..., ckpt_path=...)"
        )
