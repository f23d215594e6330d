"""Convert images between arrays (H,W,C), the format of OpenCV and albumentations, and tensors (C,H,W)."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]


def as_array(image: Tensor) -> Array:
    """Return a (C,H,W) tensor as a contiguous (H,W,C) array, without a copy if `as_tensor` made the tensor."""
    return np.ascontiguousarray(image.numpy().transpose(1, 2, 0))


def as_tensor(image: Array) -> Tensor:
    """Return an (H,W,C) array as a (C,H,W) tensor over the same memory."""
    return torch.from_numpy(np.ascontiguousarray(image).transpose(2, 0, 1))


def visible(image: Tensor) -> npt.NDArray[np.uint8]:
    """Convert an image (C,H,W) of any dtype to (H,W,3) uint8: its first three channels, or its first as grey.

    Values that are not uint8 are scaled to the full range.
    """
    shown = image[:3] if image.shape[0] >= 3 else image[:1].expand(3, -1, -1)
    if shown.dtype != torch.uint8:
        values = shown.float()
        low, high = values.min(), values.max()
        shown = ((values - low) / (high - low).clamp_min(1e-9) * 255).byte()
    return shown.permute(1, 2, 0).cpu().numpy()
