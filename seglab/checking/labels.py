"""Pixels without a label, and labels without a pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor

from seglab.checking.candidate import Candidate, tried
from seglab.checking.outcomes import Outcome, verdict
from seglab.sample import IGNORE

ROUNDING = 1e-5


def all_ignored(candidate: Candidate) -> Outcome:
    """A batch without a label: a finite value without a gradient; an image without one beside another: finite."""
    loss = candidate.build()
    logits, mask = candidate.batch()
    trial = tried(loss, logits, torch.full_like(mask, IGNORE))
    if not trial.finite or trial.gradient.any():
        return verdict(False, f"a batch without a label: value {trial.value.item():.3g}, gradient {trial.gradient.norm().item():.3g}")
    mask[0] = IGNORE
    beside = tried(loss, logits, mask)
    found = f"value {trial.value.item():.3g}, gradient 0"
    return verdict(beside.finite, found if beside.finite else f"an image without a label: value {beside.value.item():.3g}")


def absent_classes(candidate: Candidate) -> Outcome:
    """Finite where one class is all there is; and what false positives of an absent class cost."""
    loss = candidate.build()
    logits, mask = candidate.batch()
    for label in range(candidate.labels):
        alone = torch.full_like(mask, label)
        for given in (logits, candidate.sure(alone, 5.0), candidate.sure((alone + 1) % candidate.labels, 5.0)):
            trial = tried(loss, given, alone)
            if not trial.finite:
                return verdict(
                    False, f"value {trial.value.item():.3g}, gradient {trial.gradient.norm().item():.3g} where all is class {label}"
                )
    return verdict(True, f"finite; false positives have {_share(candidate):.0%} of the gradient they have where their class is present")


def _share(candidate: Candidate) -> float:
    """The gradient of the last class's logit at its false positives: where the class is absent, over where it is elsewhere present."""
    logits, mask = candidate.batch()
    last = candidate.labels - 1
    logits[:, -1] += 1.0
    present = torch.zeros_like(mask)
    present[:, 8:] = last
    absent, elsewhere = (
        tried(candidate.build(), logits, labels).gradient[:, -1, :8].sum().item() for labels in (torch.zeros_like(mask), present)
    )
    return absent / elsewhere if elsewhere else float("nan")


def ignored_pixels(candidate: Candidate) -> Outcome:
    """No gradient at pixels without a label, and the same value whatever is predicted there."""
    loss = candidate.build()
    logits, mask = candidate.batch(ignored=0.2)
    ignored = (mask == IGNORE).unsqueeze(1)
    trial = tried(loss, logits, mask)
    there = ((trial.gradient * ignored).abs().sum() / trial.gradient.abs().sum()).item()
    change = trial.off(tried(loss, torch.where(ignored, -10 * logits.flip(1), logits), mask).value)
    return verdict(there == 0 and change <= ROUNDING, f"they have {there:.2g} of the gradient, and change the value by {change:.1g}")


def padding(candidate: Candidate) -> Outcome:
    """The same value if pixels without a label are added below and to the right."""
    loss = candidate.build()
    logits, mask = candidate.batch()
    trial = tried(loss, logits, mask)
    padded = tried(loss, _padded(logits, 0.0), _padded(mask, IGNORE)).value
    change = trial.off(padded)
    return verdict(change <= ROUNDING, f"{trial.value.item():.4g}, and {padded.item():.4g} with twice as many pixels")


def _padded(tensor: Tensor, value: float) -> Tensor:
    return F.pad(tensor, (0, 8, 0, 8), value=value)
