"""Optimizers as objects: fields are settings, and calling one on parameter groups makes torch's optimizer."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer


@dataclass(frozen=True)
class AdamW:
    """torch's AdamW, for the `optimizer` of a `SegmentationModule`: `SegmentationModule(..., optimizer=AdamW(3e-4))`.

    Weight decay is 0 by default, in contrast to torch's 0.01, because the optimizer's own decay beside a penalty would
    blur a comparison.

    Args:
        lr: learning rate η.
        weight_decay: decoupled decay w ← w − η·`weight_decay`·w (Loshchilov & Hutter 2019).
        betas: decay rates of the running means of the gradient and of its square.
        eps: ε, added to the denominator.
        fused: compute the whole step in one kernel, which is faster on a GPU and changes the last digits of the
            numbers; another setting of a study. None leaves the choice to torch, which does not fuse.

    Raises:
        ValueError: `lr` or `weight_decay` is not a finite number, 0 or more.

    >>> AdamW(3e-4)
    AdamW(lr=0.0003, weight_decay=0.0, betas=(0.9, 0.999), eps=1e-08, fused=None)
    """

    lr: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    fused: bool | None = None

    def __post_init__(self) -> None:
        for name, value in (("lr", self.lr), ("weight_decay", self.weight_decay)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"AdamW: {name} must be a finite number, 0 or more; got {value}")

    def __call__(self, parameters: Iterable[Any]) -> Optimizer:
        """Return torch's optimizer for parameters or parameter groups."""
        return torch.optim.AdamW(
            parameters, lr=float(self.lr), betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=self.fused
        )
