"""The loss that is checked, the batches it is tried on, and what one trial gives."""

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from seglab.sample import IGNORE


@dataclass(frozen=True)
class Candidate:
    """A loss to check, made anew where a check begins, so that none sees what another one left behind.

    Args:
        make: builds the loss; it can be pickled, because other processes make one too: a class, or a `partial` of one.
        classes: C ≥ 1 channels of the logits; 1 is one logit for each pixel, and two labels.
    """

    make: Callable[[], nn.Module]
    classes: int = 3

    @property
    def labels(self) -> int:
        """How many different labels a mask has."""
        return max(self.classes, 2)

    def build(self) -> nn.Module:
        """The loss, with the same initial weights each time if it has any."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.make()

    def batch(self, images: int = 2, height: int = 16, width: int = 24, *, ignored: float = 0.0) -> tuple[Tensor, Tensor]:
        """Logits (N,C,H,W) float32, standard normal, and mask (N,H,W) int64: all labels in each image that has as many pixels.

        Args:
            ignored: fraction of the pixels of each image that has no label.
        """
        generator = torch.Generator().manual_seed(0)
        valid = height * width - round(ignored * height * width)
        skewed = (torch.linspace(0, 1, valid + 1)[:-1].square() * self.labels).long()
        skewed[: self.labels] = torch.arange(self.labels)[:valid]
        labels = torch.cat([skewed, torch.full((height * width - valid,), IGNORE)])
        mask = torch.stack([labels[torch.randperm(height * width, generator=generator)] for _ in range(images)])
        return torch.randn(images, self.classes, height, width, generator=generator), mask.view(images, height, width)

    def sure(self, mask: Tensor, size: float) -> Tensor:
        """Logits (N,C,H,W) float32 of a network that is sure of the labels in mask (N,H,W): ±`size`."""
        hits = mask.unsqueeze(1) == torch.arange(self.labels).view(1, -1, 1, 1)[:, -self.classes :]
        return torch.where(hits, size, -size)

    def takes(self, logits: Tensor, mask: Tensor) -> bool:
        """Return whether the loss gives a finite value and gradient for logits (N,C,H,W) and mask (N,H,W)."""
        try:
            return tried(self.build(), logits, mask).finite
        except Exception:  # noqa: BLE001 - whatever a loss raises
            return False


@dataclass(frozen=True)
class Trial:
    """What a loss says about one batch.

    Args:
        logits: (N,C,H,W), what it was given.
        value: 0-dim, detached.
        gradient: (N,C,H,W), of the value by the logits.
    """

    logits: Tensor
    value: Tensor
    gradient: Tensor

    @property
    def finite(self) -> bool:
        return bool(self.value.isfinite()) and bool(self.gradient.isfinite().all())

    def off(self, value: Tensor) -> float:
        """How far another 0-dim value is from this one, relative to |L| + Σ|z·∂L/∂z|: L alone may be a difference of large terms."""
        scale = self.value.double().abs() + (self.logits.double() * self.gradient.double()).abs().sum()
        return ((value.double() - self.value.double()).abs() / scale.clamp(min=torch.finfo(torch.float32).tiny)).item()


def tried(loss: nn.Module, logits: Tensor, mask: Tensor, seed: int = 0) -> Trial:
    """Call a loss as a training does, and differentiate it; random numbers that it draws from torch are those of `seed`.

    Raises:
        Exception: whatever the loss raises, with a note on the logits it was given.
        TypeError: if it does not return a number that has a gradient.
    """
    leaf = logits.detach().clone().requires_grad_()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            value = number(loss(leaf.clone(), mask.clone()))  # a network's output is no leaf either
            (gradient,) = torch.autograd.grad(value, leaf, materialize_grads=True)
    except Exception as error:
        error.add_note(f"{place(error, loss)}logits {tuple(logits.shape)} {str(logits.dtype).removeprefix('torch.')}")
        raise
    return Trial(logits, value.detach(), gradient)


def place(error: Exception, loss: nn.Module) -> str:
    """Where in the loss's own file an exception passed, as `my_file.py, line 12; `; nothing if it did not."""
    file = getattr(sys.modules.get(type(loss).__module__), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{Path(str(file)).name}, line {lines[-1]}; " if lines else ""


def number(value: object) -> Tensor:
    """A loss's value, if it is a 0-dim floating tensor that has a gradient; a TypeError that says what it is instead."""
    if not isinstance(value, Tensor):
        raise TypeError(f"the loss returns {value!r:.40}, which is no tensor")
    if value.ndim > 0 or not value.is_floating_point():
        raise TypeError(f"the loss returns a tensor of shape {tuple(value.shape)} and {value.dtype}, not one floating number")
    if not value.requires_grad:
        raise TypeError("the loss returns a number without a gradient")
    return value
