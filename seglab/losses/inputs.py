"""What every loss accepts, checked without looking at a value: no device synchronisation."""

import torch
from torch import Tensor


def check_inputs(logits: Tensor, mask: Tensor) -> None:
    """Check shapes and dtypes of logits (N,C,H,W) floating and mask (N,H,W) int64; the labels themselves are checked once per data set.

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
