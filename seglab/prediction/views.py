"""Views of an image, flipped and at several scales, for averaging probabilities (test-time augmentation)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from seglab.networks.forward import FULL
from seglab.windows import Network

_TINY = torch.finfo(torch.float32).tiny
_ROWS, _COLUMNS = -2, -1


@dataclass(frozen=True)
class Views:
    """Flips and scales of an image. Each scale is combined with each flip.

    Args:
        flips: "horizontal" adds the image with left and right exchanged, "both" also upside down and turned by 180
            degrees.
        scales: factors of the image's size.

    Raises:
        ValueError: there is no scale, or one is not above 0.
    """

    flips: Literal["none", "horizontal", "both"] = "none"
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale <= 16 for scale in self.scales):
            raise ValueError(f"scales are {list(self.scales)}: expected factors above 0 and at most 16, such as [0.75,1,1.25]")

    def averaged(self, network: Network) -> Network:
        """Return a function from images (N,C,H,W) to the logits (N,K,H,W) of the mean probabilities over all views.

        One view alone is the network itself.
        """
        dims: tuple[tuple[int, ...], ...] = ((), (_COLUMNS,), (_ROWS,), (_ROWS, _COLUMNS))
        flips = dims[: {"none": 1, "horizontal": 2, "both": 4}[self.flips]]
        if flips == ((),) and self.scales == (1,):
            return network

        def mean_of_views(image: Tensor) -> Tensor:
            unit = image.float() / FULL.get(image.dtype, 1.0)
            total = torch.zeros(())
            for scale in self.scales:
                scaled = _resized(unit, scale)
                for flip in flips:
                    logits = network(scaled.flip(flip)).float().flip(flip)
                    at_size = F.interpolate(logits, unit.shape[-2:], mode="bilinear", align_corners=False)
                    total = total.to(logits.device) + _probabilities(at_size)
            return _logits(total / (len(self.scales) * len(flips)))

        return mean_of_views


def _resized(image: Tensor, scale: float) -> Tensor:
    """Resize images (N,C,H,W) float. No value leaves their range, which rounding could exceed."""
    if scale == 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[-2:]]
    return F.interpolate(image, size, mode="bilinear", antialias=True).clamp(image.amin(), image.amax())


def _probabilities(logits: Tensor) -> Tensor:
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def _logits(probabilities: Tensor) -> Tensor:
    logs = probabilities.clamp_min(_TINY).log()
    return logs - (1 - probabilities).clamp_min(_TINY).log() if probabilities.shape[1] == 1 else logs
