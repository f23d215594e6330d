"""Contract of an augmentation: it keeps the kind of a sample, so that training and evaluation see alike images.

| part | the same as before |
|---|---|
| image | a NumPy array (H',W',C) with the dtype and channels of before; floats that lay in [0, 1] stay there |
| mask | a NumPy array (H',W') uint8 whose labels are labels of before, or `IGNORE` |
"""

import cv2
import numpy as np

from seglab.data.arrays import Array
from seglab.sample import IGNORE

MARGIN = 0.25
"""Distance by which floats may leave [0, 1]. Cubic interpolation overshoots by less, and normalised images leave the
range by more.
"""


def fault_of(before: tuple[Array, Array], image: object, mask: object, every: int = 1) -> str | None:
    """Return how an augmented sample breaks the contract, and what to do; None if it keeps it.

    Args:
        before: image (H,W,C) and mask (H,W) uint8 before the augmentation.
        image: the augmented image.
        mask: the augmented mask.
        every: labels are looked for in every so many rows of the augmented mask.
    """
    return _image_fault(before[0], image) or _mask_fault(before[1], image, mask, every)


def _image_fault(before: Array, image: object) -> str | None:
    if not isinstance(image, np.ndarray):
        return f"makes the image a {type(image).__name__}, which was a NumPy array: leave it out, as batches become tensors by themselves"
    if image.dtype != before.dtype:
        why = "mean and std of SegmentationModule normalise on the device" if before.dtype == np.uint8 else "images keep their dtype"
        return f"makes the image {image.dtype}, which was {before.dtype}: leave it out, as {why}, in training and evaluation alike"
    if image.ndim != 3 or image.shape[-1] != before.shape[-1]:
        channels = before.shape[-1]
        return (
            f"makes the image's shape {image.shape}, which was {before.shape}, with {channels} channel{'s' * (channels > 1)} last: "
            "keep the channels, as evaluation does"
        )
    if 0 in image.shape:
        return f"makes the image's shape {image.shape}, without pixels: leave some of them"
    return _range_fault(before, image) if image.dtype.kind == "f" else None


def _range_fault(before: Array, image: Array) -> str | None:
    """Return what is wrong with the values of a float image. NaN fails every comparison."""
    low, high = image.min(), image.max()
    if low >= -MARGIN and high <= 1 + MARGIN:
        return None
    if not np.isfinite(low + high):
        return "makes values of the image infinite or not a number (NaN): leave it out, or correct it"
    if before.min() < 0 or before.max() > 1:
        return None
    return (
        f"makes the image's values {low:.3g} to {high:.3g}, which were within 0 and 1: leave it out, as mean and std of "
        "SegmentationModule normalise on the device, in training and evaluation alike"
    )


def _mask_fault(before: Array, image: object, mask: object, every: int) -> str | None:
    assert isinstance(image, np.ndarray)
    if not isinstance(mask, np.ndarray):
        return f"makes the mask a {type(mask).__name__}, which was a NumPy array: leave it out, as batches become tensors by themselves"
    if mask.dtype != np.uint8 or mask.ndim != 2:
        return (
            f"makes the mask {mask.dtype} of shape {mask.shape}, which was uint8 of shape {before.shape}: "
            "leave it out, as losses convert labels themselves"
        )
    if mask.shape != image.shape[:2]:
        return f"makes the mask {_size(mask)} and the image {_size(image)} (rows × columns), which had one size: give both to each step"
    some = mask[::every]
    if not _new_labels(before[::every], some) or not (new := _new_labels(before, some)):
        return None
    shown = f"label {new[0]}" if len(new) == 1 else f"labels {', '.join(map(str, new[:3]))}{', …' * (len(new) > 3)}"
    return (
        f"makes {shown} in the mask, which had none of it: warp masks by the nearest pixel (cv2.INTER_NEAREST), and fill new pixels "
        f"with {IGNORE} (seglab.IGNORE)"
    )


def _new_labels(before: Array, mask: Array) -> list[int]:
    """Return the sorted labels of a mask (H,W) uint8, without `IGNORE`, that the mask `before` lacks.

    NumPy takes several times as long.
    """
    known = np.flatnonzero(cv2.calcHist([before], [0], None, [IGNORE], [0, IGNORE])).tolist()
    return sorted(set(mask.tobytes().translate(None, bytes([*known, IGNORE]))))


def _size(array: Array) -> str:
    return f"{array.shape[0]}×{array.shape[1]}"
