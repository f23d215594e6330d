"""Resizing of images, the same in training, in evaluation and in prediction."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt


def resize_image(image: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """Resize an image (H,W,C) to (*size, C) of the same dtype: shrink by averaging, enlarge by linear interpolation."""
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    groups = [image[..., channel : channel + 4] for channel in range(0, image.shape[-1], 4)]  # OpenCV takes four at a time
    resized = [np.asarray(cv2.resize(group, size[::-1], interpolation=method)).reshape(*size, -1) for group in groups]
    return resized[0] if len(resized) == 1 else np.concatenate(resized, axis=-1)
