"""Checks of the inputs of every loss.

They read shapes and dtypes but no values, and so cause no device synchronisation.
"""

import torch
from torch import Tensor


def check_inputs(logits: Tensor, mask: Tensor) -> None:
    """Check shapes and dtypes of logits (N,C,H,W) floating and mask (N,H,W) int64, not the labels.

    The labels are checked once per data set.

    Raises:
        ValueError: if one of them is of another shape or dtype, or their sizes differ.
    """
    if logits.ndim != 4 or not logits.is_floating_point():
        raise ValueError(f"logits must be (N,C,H,W) and floating, got {tuple(logits.shape)} {logits.dtype}")
    if mask.dtype != torch.int64:
        raise ValueError(f"mask must be int64, got {mask.dtype}: call mask.long()")
    n, _, h, w = logits.shape
    if tuple(mask.shape) != (n, h, w):
        raise ValueError(f"mask must be (N,H,W) = {(n, h, w)} to match logits {tuple(logits.shape)}, got {tuple(mask.shape)}")


def class_logits(logits: Tensor, mask: Tensor) -> Tensor:
    """Check logits and mask, and return one logit per class in at least float32.

    Every loss is computed from these logits.

    One logit z per pixel means two classes, the second being the foreground: softmax(0, z) = (1 − σ(z), σ(z)).

    Args:
        logits: (N,C,H,W), any floating dtype; C = 1 is one logit.
        mask: (N,H,W) int64.

    Returns:
        (N,C,H,W), or (N,2,H,W) for one logit: float64 if `logits` are float64, else float32.

    Raises:
        ValueError: as `check_inputs`.
    """
    check_inputs(logits, mask)
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return torch.cat([torch.zeros_like(wide), wide], dim=1) if wide.shape[1] == 1 else wide


def scored_classes(logits: Tensor, foreground_only: bool) -> slice:
    """Return the classes over which a loss takes its mean: all, or the foreground of one logit alone.

    Args:
        logits: (N,C,H,W), as the network gives them.
        foreground_only: whether the background is left out.

    Raises:
        ValueError: if `foreground_only` and C is not 1.
    """
    if not foreground_only:
        return slice(None)
    if logits.shape[1] != 1:
        raise ValueError(
            f"foreground_only=True is for one logit per pixel, and the logits have {logits.shape[1]} classes, of which none is the "
            "foreground: build the network with num_classes=1, or leave foreground_only out"
        )
    return slice(1, None)


def one_hot(mask: Tensor, num_classes: int) -> Tensor:
    """Return the classes of mask (N,H,W) int64 as one-hot (N,C,H,W) bool, False in all classes for an ignored pixel."""
    return mask.unsqueeze(1) == torch.arange(num_classes, device=mask.device).view(1, -1, 1, 1)
