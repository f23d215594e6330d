"""The loss under test, the batches on which it is evaluated, and the result of one evaluation."""

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from seglab.sample import IGNORE


@dataclass(frozen=True)
class Subject:
    """A loss to check. Each check builds a new instance, so that no state carries over from one check to the next.

    Args:
        make: callable that builds the loss: a class, or a `partial` of one. It must be picklable: other processes build
            it too.
        classes: number of channels C ≥ 1 of the logits. C = 1 means one logit for each pixel, and two labels.
    """

    make: Callable[[], nn.Module]
    classes: int = 3

    @property
    def labels(self) -> int:
        """Return the number of labels that a mask can have."""
        return max(self.classes, 2)

    def build(self) -> nn.Module:
        """Build the loss. Initial weights, if the loss has any, are the same on each call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.make()

    def batch(self, images: int = 2, height: int = 16, width: int = 24, *, ignored: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return logits (N,C,H,W) float32, standard normal, and a mask (N,H,W) int64.

        Each image contains all labels, if it has as many labelled pixels. Lower labels are more frequent.

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
        """Return logits (N,C,H,W) float32 of a network that is certain of the labels in mask (N,H,W).

        A logit is +`size` in the channel of the pixel's label and −`size` in all other channels. If C = 1, the channel
        is that of label 1.
        """
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
    """Value and gradient of a loss on one batch.

    Args:
        logits: (N,C,H,W), the input of the loss.
        value: 0-dim, detached.
        gradient: (N,C,H,W), of the value with respect to the logits.
    """

    logits: Tensor
    value: Tensor
    gradient: Tensor

    @property
    def finite(self) -> bool:
        return bool(self.value.isfinite()) and bool(self.gradient.isfinite().all())

    def off(self, value: Tensor) -> float:
        """Return the distance of another 0-dim value from this value L, relative to |L| + Σ|z·∂L/∂z| over the logits z.

        |L| alone is no suitable scale, because L may be a small difference of large terms.
        """
        scale = self.value.double().abs() + (self.logits.double() * self.gradient.double()).abs().sum()
        return ((value.double() - self.value.double()).abs() / scale.clamp(min=torch.finfo(torch.float32).tiny)).item()


def tried(loss: nn.Module, logits: Tensor, mask: Tensor, seed: int = 0) -> Trial:
    """Call a loss as a training does, and differentiate its value.

    Random numbers that the loss draws from torch follow `seed`.

    Raises:
        Exception: any exception of the loss, with a note on the line in the loss's file and on the shape and dtype of
            the logits.
        TypeError: if the loss does not return a number that has a gradient.
    """
    leaf = logits.detach().clone().requires_grad_()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            value = number(loss(leaf.clone(), mask.clone()))  # a clone, because the output of a network is no leaf tensor
            (gradient,) = torch.autograd.grad(value, leaf, materialize_grads=True)
    except Exception as error:
        error.add_note(f"{place(error, loss)}logits {tuple(logits.shape)} {str(logits.dtype).removeprefix('torch.')}")
        raise
    return Trial(logits, value.detach(), gradient)


def place(error: Exception, loss: nn.Module) -> str:
    """Return the last line in the loss's own file through which an exception passed, as `my_file.py, line 12; `.

    Return an empty string if the exception passed through no line of this file.
    """
    file = getattr(sys.modules.get(type(loss).__module__), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{Path(str(file)).name}, line {lines[-1]}; " if lines else ""


def number(value: object) -> Tensor:
    """Return the value of a loss.

    Raise a TypeError that describes it unless it is a 0-dim floating tensor that has a gradient.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"the loss returns {value!r:.40}, which is no tensor")
    if value.ndim > 0 or not value.is_floating_point():
        raise TypeError(f"the loss returns a tensor of shape {tuple(value.shape)} and {value.dtype}, not one floating number")
    if not value.requires_grad:
        raise TypeError("the loss returns a number without a gradient")
    return value
