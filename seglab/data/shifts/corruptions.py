"""Four corruptions of ImageNet-C, one of each of its groups: noise, blur, weather and digital.

The constants of the five severities are those of ImageNet-C (Hendrycks & Dietterich 2019, arXiv:1903.12261,
`make_imagenet_c.py`), in pixels of the image that the network sees. ImageNet-C has images of 224×224. Michaelis et al.
(2019, arXiv:1907.07484), whose images have other sizes, use the same constants, and so does seglab: they are not scaled
with the image.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import cv2
import numpy as np
from PIL import Image

from seglab.data.arrays import Array
from seglab.data.shifts.shift import SEVERITIES, Corruption
from seglab.suggestions import did_you_mean

_DEVIATIONS = (0.08, 0.12, 0.18, 0.26, 0.38)
_DISKS = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
"""Radius of the disk, and standard deviation of the Gaussian that smooths its edge, in pixels."""
_OFFSETS = (0.1, 0.2, 0.3, 0.4, 0.5)
_QUALITIES = (25, 18, 15, 10, 7)


@final
@dataclass(frozen=True)
class GaussianNoise(Corruption):
    """Adds normal noise, independent for each pixel and channel.

    Its standard deviation is 0.08 to 0.38 of the range of values.

    An image has the same noise field under every severity, scaled.
    """

    def degrade(self, image: Array, rng: np.random.Generator) -> Array:
        """Return the image (H,W,C) with noise."""
        noise: Array = rng.standard_normal(image.shape, np.float32)
        return np.asarray(image + noise * np.float32(_DEVIATIONS[self.severity - 1]))


@final
@dataclass(frozen=True)
class DefocusBlur(Corruption):
    """Blurs by a disk of a radius of 3 to 10 pixels, as a lens out of focus. Borders are mirrored."""

    def degrade(self, image: Array, rng: np.random.Generator) -> Array:
        """Return the blurred image (H,W,C)."""
        radius, smoothing = _DISKS[self.severity - 1]
        return np.asarray(cv2.filter2D(image, -1, disk(radius, smoothing))).reshape(image.shape)


@final
@dataclass(frozen=True)
class Brightness(Corruption):
    """Adds 0.1 to 0.5 to the value of each pixel in the colour space HSV.

    Hue and saturation stay, except where the value reaches 1.

    The value V of a pixel is the largest of its channels. A pixel of colour x becomes x · min(V + c, 1) / V, and a
    black one grey. This is defined for any number of channels.
    """

    def degrade(self, image: Array, rng: np.random.Generator) -> Array:
        """Return the brighter image (H,W,C)."""
        value = image.max(axis=-1, keepdims=True)
        brighter = np.minimum(value + np.float32(_OFFSETS[self.severity - 1]), 1)
        return np.asarray(np.where(value > 0, image * (brighter / np.where(value > 0, value, 1)), brighter))


@final
@dataclass(frozen=True)
class JPEG(Corruption):
    """Compresses to a JPEG of quality 25 to 7.

    Images of other than three channels are compressed channel by channel, as grey images.

    JPEG has 8 bits: images of more lose the others too. The pixels depend on the version of the JPEG library in Pillow.
    """

    def degrade(self, image: Array, rng: np.random.Generator) -> Array:
        """Return the image (H,W,C) after compression and decompression."""
        pixels = np.rint(image * 255).astype(np.uint8)
        quality = _QUALITIES[self.severity - 1]
        if image.shape[-1] == 3:
            stored = _compressed(pixels, quality)
        else:
            stored = np.stack([_compressed(pixels[..., channel], quality) for channel in range(image.shape[-1])], axis=-1)
        return stored.astype(np.float32) / np.float32(255)


NAMED: dict[str, type[Corruption]] = {"noise": GaussianNoise, "blur": DefocusBlur, "brightness": Brightness, "jpeg": JPEG}
"""The corruptions by the names that `corruptions` takes."""


def corruptions(names: Sequence[str]) -> dict[str, Corruption]:
    """Return corruptions by name: `noise-3` is `GaussianNoise(3)`, and `noise` alone stands for all five severities.

    >>> list(corruptions(["noise-3", "jpeg"]))
    ['noise-3', 'jpeg-1', 'jpeg-2', 'jpeg-3', 'jpeg-4', 'jpeg-5']

    Args:
        names: some of noise, blur, brightness and jpeg, each with or without a severity.

    Raises:
        ValueError: a name is unknown, or occurs twice.
    """
    found: dict[str, Corruption] = {}
    for name in names:
        kind, dash, severity = name.partition("-")
        if kind not in NAMED or (dash and severity not in map(str, SEVERITIES)):
            hint = did_you_mean(kind, NAMED) if kind not in NAMED else ""
            raise ValueError(
                f"there is no corruption {name!r}{hint}; expected {', '.join(NAMED)}, each alone or with a severity from 1 to 5, as in noise-3"
            )
        for level in [int(severity)] if dash else SEVERITIES:
            if f"{kind}-{level}" in found:
                raise ValueError(f"corruption {kind}-{level} is named twice; name it once")
            found[f"{kind}-{level}"] = NAMED[kind](level)
    return found


def disk(radius: int, smoothing: float) -> Array:
    """Return a disk of `radius` pixels, (K,K) float32 of sum 1.

    A Gaussian of standard deviation `smoothing` smooths the edge of the disk.
    """
    reach = radius + 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    sharp = (x**2 + y**2 <= radius**2).astype(np.float32)
    side = 3 if radius <= 8 else 5
    smooth = np.asarray(cv2.GaussianBlur(sharp, (side, side), smoothing), np.float32)
    return np.asarray(smooth / smooth.sum())


def _compressed(pixels: Array, quality: int) -> Array:
    """Return pixels (H,W,3) or (H,W) uint8 after they were a JPEG of this quality."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))
