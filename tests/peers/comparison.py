"""Comparisons of a loss with the same loss of another library, on drawn inputs; and the reason where the two differ."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seglab.sample import IGNORE
from tests.losses.catalogue import drawn

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits (N,C,H,W) and mask (N,H,W) int64 to a 0-dim tensor."""


@dataclass(frozen=True)
class Comparison:
    """A loss of seglab, the loss of a peer, and the inputs on which they are compared."""

    ours: Loss
    theirs: Loss
    classes: int = 3
    """C of the logits; 1 is one logit, with labels 0 and 1."""
    ignored: float = 0.0
    """Fraction of the pixels that are ignored."""
    present: int | None = None
    """Number of classes in the masks, each of them in every image; None for all."""
    because: str = ""
    """Difference of the definitions; empty if there is none."""
    definition: Loss | None = None
    """The peer's loss by its own definition, where the definitions differ."""

    def inputs(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return logits (2,C,4,5) and a mask (2,4,5)."""
        present = max(self.classes, 2) if self.present is None else self.present
        logits, mask = drawn(seed, self.ignored, self.classes, present)
        mask[:, 0, :present] = torch.arange(present)
        return 2 * logits, mask


def value_and_gradient(loss: Loss, logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the value of a loss and its gradient with respect to the logits."""
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, mask)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10_000))
def check_equal(comparison: Comparison, seed: int) -> None:
    """Check that value and gradient are the peer's."""
    logits, mask = comparison.inputs(seed)
    for ours, theirs in zip(
        value_and_gradient(comparison.ours, logits, mask), value_and_gradient(comparison.theirs, logits, mask), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-6)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10_000))
def check_definition(comparison: Comparison, seed: int) -> None:
    """Check that the peer's value is that of its definition."""
    assert comparison.definition is not None
    logits, mask = comparison.inputs(seed)
    torch.testing.assert_close(comparison.theirs(logits, mask), comparison.definition(logits, mask), rtol=1e-4, atol=2e-6)


def check_different(comparison: Comparison) -> None:
    """Check that the two values differ on some inputs, by ten times what `check_equal` allows."""
    assert comparison.because
    pairs = [[float(loss(*comparison.inputs(seed))) for loss in (comparison.ours, comparison.theirs)] for seed in range(5)]
    assert any(ours != pytest.approx(theirs, rel=1e-3) for ours, theirs in pairs)


def probabilities(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return p and y (valid pixels, C) of logits and mask; two classes for one logit."""
    both = torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits
    valid = mask != IGNORE
    p = both.softmax(1).movedim(1, -1)[valid]
    return p, torch.nn.functional.one_hot(mask[valid], both.shape[1]).to(p.dtype)
