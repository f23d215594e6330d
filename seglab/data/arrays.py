"""Convert images between arrays (H,W,C), the format of OpenCV and albumentations, and tensors (C,H,W)."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]


def as_array(image: Tensor) -> Array:
    """Return a (C,H,W) tensor as a contiguous (H,W,C) array, without a copy if `as_tensor` made the tensor."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def as_tensor(image: Array) -> Tensor:
    """Return an (H,W,C) array as a (C,H,W) tensor over the same memory."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
