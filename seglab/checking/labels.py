"""Checks of pixels without a label, and of labels without a pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor

from seglab.checking.candidate import Subject, tried
from seglab.checking.outcomes import Outcome, verdict
from seglab.sample import IGNORE

ROUNDING = 1e-5


def all_ignored(candidate: Subject) -> Outcome:
    """Check that a batch without labels gives a finite value and a gradient of 0.

    Also check that value and gradient are finite if one image of a batch has no labels and the other image has labels.
    """
    loss = candidate.build()
    logits, mask = candidate.batch()
    trial = tried(loss, logits, torch.full_like(mask, IGNORE))
    if not trial.finite or trial.gradient.any():
        return verdict(False, f"a batch without a label: value {trial.value.item():.3g}, gradient {trial.gradient.norm().item():.3g}")
    mask[0] = IGNORE
    beside = tried(loss, logits, mask)
    found = f"value {trial.value.item():.3g}, gradient 0"
    return verdict(beside.finite, found if beside.finite else f"an image without a label: value {beside.value.item():.3g}")


def absent_classes(candidate: Subject) -> Outcome:
    """Check that value and gradient are finite if all pixels have the same label.

    Also measure the gradient at false positives of an absent class, relative to the gradient if the class is present.
    """
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


def _share(candidate: Subject) -> float:
    """Return the ratio of the last class's logit gradient at false positives: class absent divided by class present.

    The false positives are the first 8 rows, which have label 0. If the class is present, it has all other rows.
    Return NaN if the divisor is 0.
    """
    logits, mask = candidate.batch()
    last = candidate.labels - 1
    logits[:, -1] += 1.0
    present = torch.zeros_like(mask)
    present[:, 8:] = last
    absent, elsewhere = (
        tried(candidate.build(), logits, labels).gradient[:, -1, :8].sum().item() for labels in (torch.zeros_like(mask), present)
    )
    return absent / elsewhere if elsewhere else float("nan")


def ignored_pixels(candidate: Subject) -> Outcome:
    """Check that the gradient is 0 at pixels without a label, and that their logits do not change the value."""
    loss = candidate.build()
    logits, mask = candidate.batch(ignored=0.2)
    ignored = (mask == IGNORE).unsqueeze(1)
    trial = tried(loss, logits, mask)
    there = ((trial.gradient * ignored).abs().sum() / trial.gradient.abs().sum()).item()
    change = trial.off(tried(loss, torch.where(ignored, -10 * logits.flip(1), logits), mask).value)
    return verdict(there == 0 and change <= ROUNDING, f"they have {there:.2g} of the gradient, and change the value by {change:.1g}")


def padding(candidate: Subject) -> Outcome:
    """Check that the value does not change if pixels without a label are added below and to the right."""
    loss = candidate.build()
    logits, mask = candidate.batch()
    trial = tried(loss, logits, mask)
    padded = tried(loss, _padded(logits, 0.0), _padded(mask, IGNORE)).value
    change = trial.off(padded)
    return verdict(change <= ROUNDING, f"{trial.value.item():.4g}, and {padded.item():.4g} with twice as many pixels")


def _padded(tensor: Tensor, value: float) -> Tensor:
    return F.pad(tensor, (0, 8, 0, 8), value=value)
