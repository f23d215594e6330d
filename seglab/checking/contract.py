"""Checks of what every training requires of a loss: a finite number with a gradient, on every batch."""

import torch
from torch import Tensor

from seglab.checking.candidate import Subject, tried
from seglab.checking.outcomes import Outcome, verdict

SHAPES = ((1, 16, 24), (3, 24, 16), (2, 17, 33))
SIZES = (1.0, 50.0, 1e4)


def number_with_gradient(candidate: Subject) -> Outcome:
    """Check that the loss gives one floating number whose gradient with respect to the logits is not all 0."""
    trial = tried(candidate.build(), *candidate.batch())
    norm = trial.gradient.norm().item()
    return verdict(norm != 0, f"{trial.value.item():.4g} with a gradient of norm {norm:.2g}")


def all_shapes(candidate: Subject) -> Outcome:
    """Check that the loss accepts a single image, upright images and odd image sizes."""
    loss = candidate.build()
    for shape in SHAPES:
        tried(loss, *candidate.batch(*shape))
    return verdict(True, "N×H×W of " + ", ".join("×".join(map(str, shape)) for shape in SHAPES))


def finite(candidate: Subject) -> Outcome:
    """Check that value and gradient are finite for logits as large as they occur in float32 trainings.

    The masks contain all labels, label 0 alone, or the last label alone.
    """
    loss = candidate.build()
    drawn, mask = candidate.batch()
    masks = [mask, *(torch.full_like(mask, label) for label in (0, candidate.labels - 1))]
    for labels in masks:
        if labels is not mask and not candidate.takes(drawn, labels):
            continue  # fails at logits of any size: `absent_classes` reports this
        for name, logits in _extreme(candidate, drawn.sign(), labels).items():
            trial = tried(loss, logits, labels)
            if not trial.finite:
                what = "gradient not finite" if trial.value.isfinite() else f"value {trial.value.item():.3g}"
                return verdict(False, f"{what} for {name}")
    return verdict(True, f"drawn, right and wrong logits of up to ±{SIZES[-1]:g}")


def _extreme(candidate: Subject, signs: Tensor, mask: Tensor) -> dict[str, Tensor]:
    right, wrong = candidate.sure(mask, 1.0), candidate.sure((mask + 1) % candidate.labels, 1.0)
    kinds = {"drawn": signs, "all right": right, "all wrong": wrong}
    return {f"{name} logits of ±{size:g}": size * kind for size in SIZES for name, kind in kinds.items()}
