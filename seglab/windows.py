"""Compute an image's logits by overlapping windows, in bands of rows, so that memory does not grow with its height.

The image may have any size.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """Overlapping windows that cover an image. An image that is not larger than a window is computed as a whole.

    The logits of a pixel are a weighted mean over the windows that contain it. The weight of a window is the product of
    a Hann function of the row and one of the column: it is largest in the middle and nearly 0 at the edges, where a
    network sees the least context.

    Args:
        size: rows and columns of a window.
        overlap: smallest part of a window's rows, and of its columns, that the next window shares, from 0 to below 1.

    Raises:
        ValueError: an argument is out of its range.
    """

    size: tuple[int, int]
    overlap: float = 0.5

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"window is {list(self.size)}: expected rows and columns of at least 1, such as [512,512]")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap is {self.overlap}: expected 0 to below 1, the part of a window that the next one shares")


_MOST_VALUES = 2**22
"""Largest number of logits in a band, or those of one row."""

Network = Callable[[Tensor], Tensor]
"""A function from images (N,C,H,W) to logits (N,K,H,W)."""


def bands(network: Network, image: Tensor, windows: Windows | None, device: torch.device | str | None = None) -> Iterator[Tensor]:
    """Yield the logits (N,K,rows,W) of images (N,C,H,W) in bands of rows, from top to bottom.

    Together, the bands have all H rows.

    Only the sums of the logits in one row of windows are held at a time. An image that fits into one window is one
    band: exactly `network(image)`.

    Args:
        network: the function from images to logits.
        image: the images, on any device. Each window is moved to `device` alone.
        windows: the windows; None computes the image as a whole.
        device: device of the network and of the logits; None is that of the image.
    """
    device = image.device if device is None else device
    height, width = image.shape[-2:]
    if windows is None or (height <= windows.size[0] and width <= windows.size[1]):
        yield network(image.to(device))
        return
    rows, columns = min(windows.size[0], height), min(windows.size[1], width)
    tops, lefts = starts(height, rows, windows.overlap), starts(width, columns, windows.overlap)
    weight = hann(rows, device)[:, None] * hann(columns, device)
    total, weights = torch.empty(0), torch.zeros(rows, width, device=device)
    for top, following in zip(tops, [*tops[1:], height], strict=True):
        for left in lefts:
            logits = network(image[..., top : top + rows, left : left + columns].to(device)).float()
            if total.numel() == 0:
                total = torch.zeros(*logits.shape[:2], rows, width, device=device)
            total[..., left : left + columns] += logits * weight
            weights[:, left : left + columns] += weight
        done = following - top
        few = max(1, _MOST_VALUES // (total.numel() // rows))
        for first in range(0, done, few):
            last = min(first + few, done)
            yield total[..., first:last, :] / weights[first:last]
        for sums in (total, weights):
            _move_up(sums, done)


def _move_up(sums: Tensor, done: int) -> None:
    """Move all rows of `sums` (...,rows,W) up by `done`, and set the last `done` rows to 0.

    The rows move in pieces of `done` rows, so that no piece overlaps its target.
    """
    rows = sums.shape[-2]
    for first in range(0, rows - done, done):
        last = min(first + done, rows - done)
        sums[..., first:last, :] = sums[..., first + done : last + done, :]
    sums[..., rows - done :, :] = 0


def starts(length: int, window: int, overlap: float) -> list[int]:
    """Return the first pixels of windows along one side, evenly spread, from 0 to `length - window`.

    >>> starts(1000, 512, 0.5)
    [0, 244, 488]
    >>> starts(512, 512, 0.5)
    [0]
    """
    step = max(1, int(window * (1 - overlap)))
    gaps = -(-(length - window) // step)
    return [number * (length - window) // max(1, gaps) for number in range(gaps + 1)]


def hann(length: int, device: torch.device | str) -> Tensor:
    """Return Hann weights (length,), sin²(π (i + ½) / length), all above 0.

    The half pixel makes them symmetric and positive, so that a pixel in one window alone has a weighted mean.
    """
    return torch.sin(torch.pi * (torch.arange(length, device=device, dtype=torch.float64) + 0.5) / length).square().float()
