"""Augment brightness and contrast of photographs only."""

from typing import Any

import albumentations as A
import numpy as np
import numpy.typing as npt


class BrightnessContrast(A.RandomBrightnessContrast):  # type: ignore[misc]
    """`RandomBrightnessContrast` for (H,W,3) uint8 images.

    Other images stay unchanged, because their range of values is unknown.
    """

    def apply(self, img: npt.NDArray[Any], alpha: float, beta: float, **params: Any) -> npt.NDArray[Any]:
        """Adjust one image."""
        if img.dtype != np.uint8 or img.shape[-1] != 3:
            return img
        return np.asarray(super().apply(img, alpha=alpha, beta=beta, **params))
