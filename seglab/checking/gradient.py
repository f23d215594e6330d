"""Check of the gradient against finite differences of the value."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seglab.checking.candidate import Subject, tried
from seglab.checking.outcomes import Outcome, verdict

DIRECTIONS = 9


def gradient_of_the_value(candidate: Subject) -> Outcome:
    """Check the gradient against central differences of the value, in float64 if the loss keeps this precision.

    The check passes if one of four batches passes, because some batches may lie on a kink of the loss.
    """
    loss = candidate.build()
    logits, mask = candidate.batch(8, 8, 8, ignored=0.2)
    if not candidate.takes(logits, mask):  # `ignored_pixels` reports this
        logits, mask = candidate.batch(8, 8, 8)
    name, tolerance, steps = "float32", 5e-3, [1e-1, 3e-2, 1e-2, 3e-3, 1e-3]
    if keeps_float64(candidate):
        name, tolerance, steps = "float64", 1e-4, [1e-4, 1e-5, 1e-6]
        loss, logits = loss.double(), logits.double()
    for batch in zip(logits.chunk(4), mask.chunk(4), strict=True):
        error = gradient_error(loss, *batch, steps)
        if error <= tolerance:
            break
    return verdict(error <= tolerance, f"off central differences in {name} by {error:.1g} of its norm (at most {tolerance:g})")


def keeps_float64(candidate: Subject) -> bool:
    """Return whether the loss computes in float64: digits beyond the precision of float32 change its value.

    The dtype of the value does not prove this, because a loss may convert to float32 and back.
    """
    logits, mask = candidate.batch()
    fine = logits.double() * (1 + 1e-9)
    try:
        loss = candidate.build().double()
        value = tried(loss, fine, mask).value
        return value.dtype == torch.float64 and value.item() != tried(loss, fine.float().double(), mask).value.item()
    except Exception:  # noqa: BLE001 - a loss need not take float64
        return False


def gradient_error(loss: nn.Module, logits: Tensor, mask: Tensor, steps: Sequence[float]) -> float:
    """Return median_d min_h |(L(z+hd) − L(z−hd))/2h − ⟨∇L,d⟩| / ‖∇L‖.

    The directions d are standard normal, and the step sizes h are those in `steps`.

    An error δ of the gradient, in all elements or in one, gives |⟨δ,d⟩|, with a median of 0.67‖δ‖.
    Few directions meet a kink or a jump of a correct loss, so the median over directions is hardly affected by them.
    The best step size is larger than the effect of rounding and smaller than the distance to the next kink.
    """
    gradient = tried(loss, logits, mask).gradient
    generator = torch.Generator().manual_seed(1)

    def error(direction: Tensor) -> Tensor:
        slopes = torch.stack([_slope(loss, logits, mask, direction, step) for step in steps])
        return (slopes - (gradient * direction).sum()).abs().min()

    directions = [torch.randn(logits.shape, generator=generator).to(logits) for _ in range(DIRECTIONS)]
    return float(torch.stack([error(direction) for direction in directions]).median() / gradient.norm())


def _slope(loss: nn.Module, logits: Tensor, mask: Tensor, direction: Tensor, step: float) -> Tensor:
    ahead, behind = (tried(loss, logits + sign * step * direction, mask).value for sign in (1, -1))
    return (ahead - behind) / (2 * step)
