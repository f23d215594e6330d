"""The confusion matrix, from which the scores are computed."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from seglab.metrics.per_image import image_scores
from seglab.metrics.scoring import Scores, scores
from seglab.sample import IGNORE


def confusion_matrices(prediction: Tensor, mask: Tensor, num_classes: int, ignore_index: int = IGNORE) -> Tensor:
    """Count the pixels of each image by truth and prediction; ignored pixels never count, whatever their prediction.

    The count is deterministic.

    Args:
        prediction: (N,H,W), any integer dtype, class indices.
        mask: (N,H,W), any integer dtype, class indices or `ignore_index`.
        num_classes: C ≥ 2.
        ignore_index: the mask value of ignored pixels: none of the classes, and within ±65535.

    Returns:
        (N,C,C) int64, rows truth, columns prediction.

    Raises:
        ValueError: if a shape or dtype is wrong, a prediction or a label is no class, or `check_classes` raises.

    >>> confusion_matrices(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 255]]]), 2)
    tensor([[[1, 1],
             [0, 0]]])
    """
    check_classes(num_classes, ignore_index)
    prediction, mask = _checked(prediction, "prediction"), _checked(mask, "mask")
    if prediction.shape != mask.shape or not mask.numel():
        raise ValueError(f"prediction and mask must have one shape, and pixels, got {tuple(prediction.shape)} and {tuple(mask.shape)}")
    # Every label from the lowest to the highest that may occur has a row, ignored or not. So no pixel is compared with
    # ignore_index: the comparison takes as long as the count.
    first, last = min(0, ignore_index), max(num_classes - 1, ignore_index)
    rows, ignored = last - first + 1, ignore_index - first
    # The check precedes the conversion to a narrow dtype, in which 65536 would become 0.
    if not (_is_within(prediction, 0, num_classes - 1) and _is_within(mask, first, last)):
        raise _no_classes(prediction, mask, num_classes, ignore_index)
    dtype = narrowest(rows * num_classes)
    cell = prediction.to(dtype, copy=True).add_(mask.to(dtype), alpha=num_classes)
    if first < 0:
        cell -= first * num_classes
    counts = (torch.bincount(image, minlength=rows * num_classes).view(rows, num_classes) for image in cell.flatten(1))
    kept = torch.stack([torch.cat([each[-first : num_classes - first], each[ignored : ignored + 1]]) for each in counts])
    if kept.sum() != mask.numel():
        raise _no_classes(prediction, mask, num_classes, ignore_index)
    return kept[:, :-1].clone()


class ConfusionMatrix(Metric):
    """The confusion matrix of a data set, summed over batches and processes; `compute()` returns `Scores`.

    Args:
        num_classes: C ≥ 2.
        ignore_index: the mask value of ignored pixels; none of the classes.
        per_image: whether to keep the matrix of every image too, 4·C² bytes each, and to add the means of
            `image_scores`.

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
        check_classes(num_classes, ignore_index)
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
            ValueError: as `confusion_matrices`; the state is then unchanged.
        """
        matrices = confusion_matrices(prediction, mask, self.num_classes, self.ignore_index)
        self.matrix += matrices.sum(0)
        if self.per_image:
            self.images.append(matrices.int())

    def compute(self) -> Scores:
        """Return the scores of all pixels added so far on all processes; all are NaN before the first update."""
        found = scores(self.matrix)
        if not self.per_image:
            return found
        images: Tensor = dim_zero_cat(self.images)
        return found._replace(mean=found.mean | image_scores(images), images=images)

    def reset(self) -> None:
        """Set all counts to 0, and remove the matrices of images."""
        super().reset()
        if self.per_image:
            # A rank without an image needs a tensor to gather. The empty tensor of torchmetrics has another number of
            # dimensions and dtype.
            self.images.append(self.matrix.new_zeros(0, self.num_classes, self.num_classes, dtype=torch.int32))


def check_classes(num_classes: int, ignore_index: int) -> None:
    """Check the number of classes and the ignored label.

    Raises:
        ValueError: if there are fewer than two classes, or `ignore_index` is one of them or beyond ±65535.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}: foreground against background are two classes")
    if 0 <= ignore_index < num_classes:
        raise ValueError(f"ignore_index {ignore_index} is one of the {num_classes} classes: choose a number outside 0..{num_classes - 1}")
    if abs(ignore_index) > 65535:
        raise ValueError(f"ignore_index must be within ±65535, got {ignore_index}: every label up to it has a row in the count")


def narrowest(values: int) -> torch.dtype:
    """Return the narrowest of int16, int32 and int64 that holds 0…`values`.

    Counting int16 takes a third of the time of int64.
    """
    return next(dtype for dtype in (torch.int16, torch.int32, torch.int64) if values <= torch.iinfo(dtype).max)


def _checked(labels: Tensor, name: str) -> Tensor:
    """Check shape and dtype of labels (N,H,W), and return the labels.

    Labels of uint16, uint32 or uint64 are returned as int64, because torch lacks operations on these dtypes.
    """
    if labels.ndim != 3 or labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"{name} must be (N,H,W) of an integer dtype, got {tuple(labels.shape)} {labels.dtype}")
    return labels.long() if labels.dtype in (torch.uint16, torch.uint32, torch.uint64) else labels


def _is_within(labels: Tensor, low: int, high: int) -> bool:
    """Return whether all labels are in low…high.

    If the range of their dtype is within low…high, no label is read: reading one would synchronise the device.
    """
    limits = torch.iinfo(labels.dtype)
    if low <= limits.min and limits.max <= high:
        return True
    lowest, highest = (int(end) for end in torch.stack(labels.aminmax()).tolist())
    return low <= lowest and highest <= high


def _no_classes(prediction: Tensor, mask: Tensor, num_classes: int, ignore_index: int) -> ValueError:
    classes = set(range(num_classes))
    found = {"prediction": set(prediction.flatten().tolist()) - classes, "mask": set(mask.flatten().tolist()) - classes - {ignore_index}}
    wrong = " and ".join(f"{name} holds {', '.join(map(str, sorted(values)[:5]))}" for name, values in found.items() if values)
    return ValueError(f"{wrong}, but the classes are 0..{num_classes - 1}, and a mask's {ignore_index} is ignored: is ignore_index right?")
