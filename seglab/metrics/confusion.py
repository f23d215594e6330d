"""One confusion matrix, and the scores that follow from it.

The scores are those of the data set: pixels are summed first and divided last, so that they depend neither on the batch size nor
on the number of processes. `scores` of one image's matrix gives the scores of that image: other numbers, with another name.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from seglab.sample import IGNORE


class Scores(NamedTuple):
    """Scores in float64, NaN where undefined. With T the truth and P the prediction of a class, as sets of pixels:

    | per class | is | NaN if the class is |
    |---|---|---|
    | `iou` | \\|T∩P\\| / \\|T∪P\\| | in neither |
    | `dice` (= F1) | 2\\|T∩P\\| / (\\|T\\|+\\|P\\|) | in neither |
    | `precision` | \\|T∩P\\| / \\|P\\| | never predicted |
    | `recall` | \\|T∩P\\| / \\|T\\| | not in the truth |

    | mean | is |
    |---|---|
    | `miou`, `dice` | the mean over classes in truth or prediction: present and missed counts as 0 |
    | `pixel_accuracy` | Σ_c \\|T∩P\\| / Σ_c \\|T\\| |
    | `class_accuracy` | the mean of `recall` over classes in the truth |
    | `fwiou` | Σ_c \\|T\\|·iou / Σ_c \\|T\\|, IoU weighted by frequency (Long et al. 2015, arXiv:1411.4038) |
    """

    per_class: dict[str, Tensor]
    """(…,C) float64 by name."""
    mean: dict[str, Tensor]
    """(…) float64 by name, 0-dim for one matrix; NaN without a valid pixel."""
    confusion: Tensor
    """(…,C,C) int64, rows truth, columns prediction: what the scores were computed from."""
    images: Tensor | None = None
    """(N,C,C) int32, one matrix per image, if `ConfusionMatrix` kept them: in the order of updates, rank after rank."""


def confusion_matrices(prediction: Tensor, mask: Tensor, num_classes: int, ignore_index: int = IGNORE) -> Tensor:
    """Count pixels by truth and prediction, for each image, in one `torch.bincount`.

    It synchronises the device only where bincount does so itself, and is deterministic.

    Args:
        prediction: (N,H,W), any integer dtype, class indices.
        mask: (N,H,W), any integer dtype, class indices or `ignore_index`.
        num_classes: C ≥ 2.
        ignore_index: the mask value that counts for nothing; none of the classes.

    Returns:
        (N,C,C) int64, rows truth, columns prediction.

    Raises:
        ValueError: for another shape or dtype, a prediction or a label that is no class, or wrong classes.

    >>> confusion_matrices(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 255]]]), 2)
    tensor([[[1, 1],
             [0, 0]]])
    """
    _check_classes(num_classes, ignore_index)
    _check_inputs(prediction, mask)
    n, cells = len(mask), num_classes * num_classes
    predicted, truth = prediction.int(), mask.int()  # uint8 == −100 would compare with 156
    valid = truth != ignore_index
    truth = truth.where(valid, 0)
    in_range = _in_range(truth, num_classes) & _in_range(predicted, num_classes)
    image = torch.arange(0, n * cells, cells, dtype=torch.int32, device=mask.device).view(n, 1, 1)
    # Ignored pixels fall into one cell more. A value outside the classes makes everything −1, which bincount refuses.
    other = torch.where(in_range, n * cells, -1).int()
    cell = (truth * num_classes + predicted + image).where(valid & in_range, other)
    try:
        counts = torch.bincount(cell.flatten(), minlength=n * cells + 1)
    except RuntimeError as error:
        wrong = _out_of_range(predicted, truth, num_classes)
        if not wrong:
            raise
        raise ValueError(f"{wrong}, but the classes are 0..{num_classes - 1}: is ignore_index right?") from error
    return counts[:-1].view(n, num_classes, num_classes)


def scores(matrix: Tensor) -> Scores:
    """Compute all scores of confusion matrices (…,C,C), integer, rows truth: float64 on the same device; see `Scores`."""
    counts = matrix.double()
    hit, truth, predicted = counts.diagonal(dim1=-2, dim2=-1), counts.sum(-1), counts.sum(-2)
    iou, dice, recall = hit / (truth + predicted - hit), 2 * hit / (truth + predicted), hit / truth
    pixels = truth.sum(-1)
    mean = {
        "miou": iou.nanmean(-1),
        "dice": dice.nanmean(-1),
        "pixel_accuracy": hit.sum(-1) / pixels,
        "class_accuracy": recall.nanmean(-1),
        "fwiou": (truth * iou).nansum(-1) / pixels,
    }
    return Scores({"iou": iou, "dice": dice, "precision": hit / predicted, "recall": recall}, mean, matrix)


class ConfusionMatrix(Metric):
    """The confusion matrix of a data set, summed over batches and processes; its `compute()` gives `Scores`.

    Args:
        num_classes: C ≥ 2.
        ignore_index: the mask value that counts for nothing; none of the classes.
        per_image: keep the matrix of every image too, 4·C² bytes each.

    Raises:
        ValueError: if there are fewer than two classes, or `ignore_index` is one of them.

    >>> metric = ConfusionMatrix(num_classes=2)
    >>> metric.update(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 255]]]))
    >>> metric.compute().per_class["iou"]
    tensor([0.5000, 0.0000], dtype=torch.float64)
    """

    full_state_update = False
    is_differentiable = False
    matrix: Tensor
    images: list[Tensor]

    def __init__(self, num_classes: int, ignore_index: int = IGNORE, per_image: bool = False) -> None:
        super().__init__()
        _check_classes(num_classes, ignore_index)
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.per_image = per_image
        self.add_state("matrix", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        if per_image:
            self.add_state("images", [], dist_reduce_fx="cat")
        self.reset()

    def update(self, prediction: Tensor, mask: Tensor) -> None:
        """Add predictions (N,H,W) and masks (N,H,W), both of any integer dtype.

        Raises:
            ValueError: as `confusion_matrices`; the state stays as it was.
        """
        matrices = confusion_matrices(prediction, mask, self.num_classes, self.ignore_index)
        self.matrix += matrices.sum(0)
        if self.per_image:
            self.images.append(matrices.int())

    def compute(self) -> Scores:
        """Give the scores of everything added so far, on all processes; all NaN before the first update."""
        return scores(self.matrix)._replace(images=dim_zero_cat(self.images) if self.per_image else None)

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        if self.per_image:
            # A rank without an image has a tensor to gather then; what torchmetrics makes up has another rank and dtype.
            self.images.append(self.matrix.new_zeros(0, self.num_classes, self.num_classes, dtype=torch.int32))


def _check_classes(num_classes: int, ignore_index: int) -> None:
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}: foreground against background are two classes")
    if 0 <= ignore_index < num_classes:
        raise ValueError(f"ignore_index {ignore_index} is one of the {num_classes} classes: choose a number outside 0..{num_classes - 1}")


def _check_inputs(prediction: Tensor, mask: Tensor) -> None:
    for name, tensor in (("prediction", prediction), ("mask", mask)):
        if tensor.ndim != 3 or tensor.is_floating_point() or tensor.dtype == torch.bool:
            raise ValueError(f"{name} must be (N,H,W) of an integer dtype, got {tuple(tensor.shape)} {tensor.dtype}")
    if prediction.shape != mask.shape or not mask.numel():
        raise ValueError(f"prediction and mask must have one shape, and pixels, got {tuple(prediction.shape)} and {tuple(mask.shape)}")


def _in_range(classes: Tensor, num_classes: int) -> Tensor:
    """Whether all values are classes: 0-dim bool, left on the device."""
    low, high = classes.aminmax()
    return (low >= 0) & (high < num_classes)


def _out_of_range(prediction: Tensor, truth: Tensor, num_classes: int) -> str:
    spans = {name: [int(value) for value in tensor.aminmax()] for name, tensor in (("prediction", prediction), ("mask", truth))}
    return " and ".join(f"{name} holds {low}..{high}" for name, (low, high) in spans.items() if low < 0 or high >= num_classes)
