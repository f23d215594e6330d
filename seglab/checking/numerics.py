"""Checks of what must not change the value: precision, repetition, the order of images, the memory layout."""

import torch
from torch import nn

from seglab.checking.candidate import Subject, tried
from seglab.checking.outcomes import Outcome, verdict

ROUNDING = 1e-5
LARGE = (4, 360, 480)
"""Number of images, height and width of a batch whose sums over pixels exceed the largest float16 number (65504)."""


def half_precision(candidate: Subject) -> Outcome:
    """Compare the value of a batch in float16 and bfloat16 with the value of the same rounded numbers in float32.

    The batch is so large that a sum over its pixels overflows float16.
    """
    logits, mask = candidate.batch(*LARGE)
    found, right = [], True
    for dtype in (torch.float16, torch.bfloat16):
        rounded = logits.to(dtype)
        half, full = tried(candidate.build(), rounded, mask), tried(candidate.build(), rounded.float(), mask)
        right &= half.finite and full.off(half.value) <= 4 * torch.finfo(dtype).eps
        found.append(f"{half.value.item():.4g} in {str(dtype).removeprefix('torch.')} for {full.value.item():.4g}")
    return verdict(right, ", ".join(found) + f", N×H×W = {'×'.join(map(str, LARGE))}")


def repeatable(candidate: Subject) -> Outcome:
    """Check that two calls under one seed give values and gradients that are equal bit for bit."""
    loss = candidate.build()
    batch = candidate.batch()
    first, second, other = tried(loss, *batch), tried(loss, *batch), tried(loss, *batch, seed=1)
    if not (torch.equal(first.value, second.value) and torch.equal(first.gradient, second.gradient)):
        return verdict(False, f"{first.value.item():.7g}, then {second.value.item():.7g}")
    random = "" if torch.equal(first.value, other.value) else "; it draws random numbers, which seglab seeds at every step"
    return verdict(True, f"bit for bit the same value and gradient{random}")


def untouched(candidate: Subject) -> Outcome:
    """Check that a call in evaluation mode changes neither the inputs nor the parameters and buffers of the loss."""
    loss = candidate.build().eval()
    logits, mask = candidate.batch()
    given = logits.clone(), mask.clone()
    before = [tensor.clone() for tensor in _state(loss)]
    with torch.no_grad():
        loss(*given)
    written = [name for name, old, new in zip(("logits", "mask"), (logits, mask), given, strict=True) if not torch.equal(old, new)]
    after = _state(loss)
    if len(before) != len(after) or not all(map(torch.equal, before, after)):
        written.append("a parameter or buffer")
    return verdict(not written, f"an evaluation writes to {' and '.join(written) or 'none of them'}")


def _state(loss: nn.Module) -> list[torch.Tensor]:
    return [*loss.parameters(), *loss.buffers()]


def order(candidate: Subject) -> Outcome:
    """Check that the value depends neither on the images' order nor on the logits' memory layout (channels_last)."""
    loss = candidate.build()
    logits, mask = candidate.batch(3)
    trial = tried(loss, logits, mask)
    turned = trial.off(tried(loss, logits.roll(1, 0), mask.roll(1, 0)).value)
    last = trial.off(tried(loss, logits.contiguous(memory_format=torch.channels_last), mask).value)
    return verdict(turned <= ROUNDING and last <= ROUNDING, f"off by {turned:.1g} with images reordered, {last:.1g} in channels_last")
