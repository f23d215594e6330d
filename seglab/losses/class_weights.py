"""The weight of each class in a loss that is a weighted mean over pixels."""

import math
from collections.abc import Sequence

from torch import Tensor


def checked_weight(weight: Sequence[float] | None) -> tuple[float, ...] | None:
    """Check the weights of the classes and return them as floats; return None for None.

    A weight of 0 leaves a class out.

    Raises:
        ValueError: if one is negative, infinite or NaN, or all are 0.
    """
    if weight is not None and not (all(0 <= w < math.inf for w in weight) and any(w > 0 for w in weight)):
        raise ValueError(f"weight must be finite numbers ≥ 0, one per class and one of them positive, got {list(weight)}")
    return None if weight is None else tuple(float(w) for w in weight)


def weight_of_pixels(class_weight: Tensor | None, mask: Tensor, logits: Tensor, ignore_index: int) -> Tensor:
    """Return the class weight w_y of every pixel, (N,H,W), in the dtype of the logits (N,C,H,W).

    The weight of an ignored pixel is 0. If `class_weight` is None, the weight of every other pixel is 1.

    Raises:
        ValueError: if there are not C class weights.
    """
    valid = mask != ignore_index
    if class_weight is None:
        return valid.to(logits.dtype)
    if len(class_weight) != logits.shape[1]:
        raise ValueError(f"weight has {len(class_weight)} numbers, but the logits have {logits.shape[1]} classes")
    return class_weight.to(logits.dtype)[mask.where(valid, 0)] * valid
