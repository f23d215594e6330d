"""The scores that are computed from confusion matrices."""

from typing import NamedTuple

import torch
from torch import Tensor


class Scores(NamedTuple):
    """Scores in float64, NaN where undefined. With T the truth and P the prediction of a class, as sets of pixels:

    | per class | is | NaN if the class is |
    |---|---|---|
    | `iou` | \\|T∩P\\| / \\|T∪P\\| | in neither |
    | `dice` (= F1) | 2\\|T∩P\\| / (\\|T\\|+\\|P\\|) | in neither |
    | `precision` | \\|T∩P\\| / \\|P\\| | never predicted |
    | `recall` | \\|T∩P\\| / \\|T\\| | not in the truth |
    | `frequency` | \\|T\\| / Σ_c \\|T\\| | never, with a valid pixel |

    | mean | is |
    |---|---|
    | `miou`, `dice` | the mean over classes in truth or prediction; a present class that is missed counts as 0 |
    | `rare_miou` | the mean of `iou` over the rarer half, rounded down but at least one, of the classes in the truth |
    | `pixel_accuracy` | Σ_c \\|T∩P\\| / Σ_c \\|T\\| |
    | `class_accuracy` | the mean of `recall` over classes in the truth |
    | `fwiou` | Σ_c \\|T\\|·iou / Σ_c \\|T\\|, IoU weighted by frequency (Long et al. 2015, arXiv:1411.4038) |

    Two classes are background and foreground, and both are in every mean. The scores of the foreground alone, which
    scikit-learn and torchmetrics give for binary labels, are `per_class["iou"][1]` and so on. Where a score is
    undefined here, scikit-learn and torchmetrics give 0, and kornia's `mean_iou` 1. A class that is predicted and not
    in the truth is not in `class_accuracy`; torchmetrics' macro accuracy counts it as 0. MONAI and
    `torchmetrics.segmentation` take the mean of the scores of each image, which depends on how the pixels are cut into
    images.
    """

    per_class: dict[str, Tensor]
    """(…,C) float64 by name."""
    mean: dict[str, Tensor]
    """(…) float64 by name, 0-dim for one matrix; NaN without a valid pixel."""
    confusion: Tensor
    """The confusion matrices (…,C,C) int64 of the scores: rows truth, columns prediction."""
    images: Tensor | None = None
    """(N,C,C) int32, one per image in order of updates, rank after rank; None unless `ConfusionMatrix` kept them."""


def scores(matrix: Tensor) -> Scores:
    """Compute all `Scores` of confusion matrices (…,C,C), integer, rows truth: float64 on the same device."""
    counts = matrix.double()
    hit, truth, predicted = counts.diagonal(dim1=-2, dim2=-1), counts.sum(-1), counts.sum(-2)
    iou, dice, recall = hit / (truth + predicted - hit), 2 * hit / (truth + predicted), hit / truth
    pixels = truth.sum(-1)
    mean = {
        "miou": iou.nanmean(-1),
        "dice": dice.nanmean(-1),
        "rare_miou": iou.where(_rarer_half(truth), torch.nan).nanmean(-1),
        "pixel_accuracy": hit.sum(-1) / pixels,
        "class_accuracy": recall.nanmean(-1),
        "fwiou": (truth * iou).nansum(-1) / pixels,
    }
    per_class = {"iou": iou, "dice": dice, "precision": hit / predicted, "recall": recall, "frequency": truth / pixels.unsqueeze(-1)}
    return Scores(per_class, mean, matrix)


def _rarer_half(truth: Tensor) -> Tensor:
    """Return which of the present classes are the rarer half, (…,C) bool, from the numbers of pixels `truth` (…,C).

    The half is rounded down, but at least one class. Of classes with equally many pixels the first is taken.
    """
    rank = truth.where(truth > 0, torch.inf).argsort(dim=-1, stable=True).argsort(dim=-1)
    present = (truth > 0).sum(-1, keepdim=True)
    return rank < (present // 2).clamp(min=1).minimum(present)
