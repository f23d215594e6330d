"""Sample and batch, which a data set gives and a network receives: the two shapes that every other floor agrees on."""

from typing import NamedTuple

from torch import Tensor

IGNORE = 255
"""The mask value of a pixel that neither the loss nor a metric counts (void, unlabelled, padding)."""


class Sample(NamedTuple):
    """One image with its mask, as a data set gives it; it collates and moves to a device without code of ours."""

    image: Tensor
    """(C,H,W) uint8, uint16 or float32, not normalised: the module normalises on the device."""
    mask: Tensor
    """(H,W) uint8, class index or `IGNORE`."""
    name: str
    """Name by which a person finds the sample on disk."""


class Batch(NamedTuple):
    """Samples stacked.

    Images of different sizes are padded, at the bottom and the right, to the largest of the batch.
    """

    image: Tensor
    """(N,C,H,W), the dtype of the samples."""
    mask: Tensor
    """(N,H',W') uint8. In training H',W' = H,W; in evaluation they are those of the original masks, padded with
    `IGNORE`.
    """
    name: tuple[str, ...]
    """The N names."""
    image_size: Tensor
    """(N,2) int64, rows and columns of each image that are not padding."""
    mask_size: Tensor
    """(N,2) int64, rows and columns of each mask that are not padding."""
