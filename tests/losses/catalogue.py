"""Every loss of seglab, in the variants that compute something else, and inputs to try them on."""

import torch
from torch import Tensor, nn

from seglab import losses
from seglab.losses import (
    OHEM,
    BoundaryLoss,
    Brier,
    CrossEntropy,
    Dice,
    Focal,
    FocalTversky,
    GeneralizedDice,
    GradientLoss,
    HausdorffDT,
    Jaccard,
    LogCoshDice,
    Lovasz,
    SmoothL1Loss,
    Tversky,
    WeightedSum,
)
from seglab.sample import IGNORE

LOSSES: dict[str, nn.Module] = {
    "ce": CrossEntropy(),
    "ce weighted": CrossEntropy(weight=[1.0, 2.0, 0.5], label_smoothing=0.1),
    "focal": Focal(),
    "focal weighted": Focal(gamma=1.0, weight=[1.0, 2.0, 0.5]),
    "focal root": Focal(gamma=0.1),
    "ohem": OHEM(threshold=0.4, at_least=0.1),
    "ohem k": OHEM(threshold=0.01, at_least=0.3),
    "brier": Brier(),
    "smooth-l1": SmoothL1Loss(),
    "dice": Dice(),
    "dice penalize": Dice(smooth=1.0, absent="penalize"),
    "dice image": Dice(reduction="image"),
    "dice image penalize": Dice(absent="penalize", reduction="image"),
    "log-cosh dice": LogCoshDice(),
    "generalized dice": GeneralizedDice(),
    "generalized dice image": GeneralizedDice(reduction="image"),
    "jaccard": Jaccard(),
    "tversky": Tversky(),
    "tversky image": Tversky(0.9, 0.0, smooth=0.5, absent="penalize", reduction="image"),
    "focal tversky": FocalTversky(),
    "focal tversky image": FocalTversky(gamma=2.0, absent="penalize", reduction="image"),
    "lovasz": Lovasz(),
    "lovasz image": Lovasz(reduction="image"),
    "gradient": GradientLoss(),
    "boundary": BoundaryLoss(),
    "hausdorff": HausdorffDT(),
    "sum": WeightedSum({"ce": CrossEntropy(), "dice": Dice()}, {"ce": 1.0, "dice": 0.5}),
}
TWO_CLASSES = {name: loss for name, loss in LOSSES.items() if "weighted" not in name} | {"ce weighted": CrossEntropy(weight=[1.0, 3.0])}
"""Losses that take two classes, or one logit."""
FOREGROUND: dict[str, nn.Module] = {
    "dice": Dice(foreground_only=True),
    "dice penalize": Dice(smooth=1.0, absent="penalize", foreground_only=True),
    "dice image": Dice(reduction="image", foreground_only=True),
    "log-cosh dice": LogCoshDice(foreground_only=True),
    "jaccard": Jaccard(foreground_only=True),
    "tversky image penalize": Tversky(0.9, 0.2, absent="penalize", reduction="image", foreground_only=True),
    "focal tversky": FocalTversky(gamma=0.5, foreground_only=True),
    "lovasz": Lovasz(foreground_only=True),
    "lovasz image": Lovasz(reduction="image", foreground_only=True),
    "boundary": BoundaryLoss(foreground_only=True),
}
"""Losses that take one logit and leave the background out."""
OF_SHAPES = {"gradient", "boundary", "hausdorff"}
"""Losses that look at a pixel's neighbours, and are 0 where there are none."""

assert {type(loss).__name__ for loss in LOSSES.values()} == {name for name in losses.__all__ if name[0].isupper()}, "a loss is missing here"


def drawn(seed: int, ignored: float = 0.2, classes: int = 3, present: int = 3) -> tuple[Tensor, Tensor]:
    """Logits (2,`classes`,4,5) and a mask (2,4,5) of the first `present` classes."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 4, 5, generator=generator)
    mask = torch.randint(0, present, (2, 4, 5), generator=generator)
    return logits, mask.masked_fill(torch.rand(2, 4, 5, generator=generator) < ignored, IGNORE)


def logits_of(probabilities: list[list[float]]) -> Tensor:
    """(pixels, classes) → logits (1,C,1,W)."""
    return torch.tensor(probabilities).log().T[None, :, None, :]
