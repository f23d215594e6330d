"""Presets of augmentation, by OpenCV alone: their strengths are their fields, which are flags and are recorded."""

import math
from abc import ABC
from dataclasses import dataclass
from typing import Self, final

import numpy as np

from seglab.data.arrays import Array
from seglab.data.augmentation.warp import affine, blurred, noisy, recoloured, warp


@dataclass(frozen=True)
class Preset(ABC):
    """Random flip, scale, shift and turn of image and mask.

    Images of uint8 also get random brightness, contrast, hue, blur and noise.

    Images of other dtypes keep their values, because the range that they use is not known. The hue changes in images of
    three channels only. The size stays the same. Pixels from outside the image are 0 and `IGNORE`.

    All random numbers are drawn whatever the strengths are, so that a change of one strength changes no other part.

    Raises:
        ValueError: a strength is out of its range.
    """

    flip: float
    """probability that left and right are exchanged."""
    scale: float
    """largest factor by which the sample is enlarged or shrunk; 1 for none. Its logarithm is drawn uniformly."""
    shift: float
    """largest shift, as a fraction of the width and of the height."""
    rotation: float
    """largest angle in degrees by which the sample is turned."""
    brightness: float
    """largest change of brightness, as a fraction of the range of values."""
    contrast: float
    """largest change of contrast, as a fraction of it."""
    hue: float
    """largest angle in degrees by which the hue is turned."""
    blur: float
    """largest standard deviation of a Gaussian blur, in pixels."""
    noise: float
    """largest standard deviation of Gaussian noise, as a fraction of the range of values."""

    def __post_init__(self) -> None:
        for name, most in (("flip", 1), ("shift", 1), ("rotation", 180), ("brightness", 1), ("contrast", 1), ("hue", 180)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 0, which is off, to {most}")
        for name in ("blur", "noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 0, which is off, or more")
        if not 1 <= self.scale < math.inf:
            raise ValueError(f"scale is {self.scale}: expected 1, which is off, or more, such as 1.25 for factors of 0.8 to 1.25")

    def __call__(self) -> Self:
        """Return the preset, which is the pipeline."""
        return self

    def augment(self, image: Array, mask: Array, seed: np.random.SeedSequence) -> tuple[Array, Array]:
        """Augment one sample. The result is a function of the arguments alone.

        Args:
            image: (H,W,C), uint8, uint16 or float32.
            mask: (H,W) uint8.
            seed: seed of this sample in this epoch.

        Returns:
            The new image and mask, of the same shapes and dtypes.
        """
        rng = np.random.default_rng(seed)
        chance = rng.random()
        zoom, right, down, turn, light, contrast, hue = rng.uniform(-1, 1, 7)
        blur, noise = rng.random(2)
        size = (image.shape[0], image.shape[1])
        shift = (right * self.shift * size[1], down * self.shift * size[0])
        matrix = affine(size, scale=self.scale**zoom, degrees=turn * self.rotation, shift=shift, flip=chance < self.flip)
        image, mask = warp(image, mask, matrix)
        if image.dtype == np.uint8:
            image = recoloured(image, gain=1 + contrast * self.contrast, offset=255 * light * self.brightness, degrees=hue * self.hue)
            image = blurred(image, blur * self.blur)
            image = noisy(image, 255 * noise * self.noise, rng) if self.noise > 0 else image
        return image, mask


@final
@dataclass(frozen=True)
class LightAugmentation(Preset):
    """Flip, mild scale and shift, mild brightness and contrast."""

    flip: float = 0.5
    """probability that left and right are exchanged."""
    scale: float = 1.25
    """largest factor by which the sample is enlarged or shrunk; 1 for none."""
    shift: float = 0.1
    """largest shift, as a fraction of the width and of the height."""
    rotation: float = 0.0
    """largest angle in degrees by which the sample is turned."""
    brightness: float = 0.1
    """largest change of brightness, as a fraction of the range of values; uint8 only."""
    contrast: float = 0.1
    """largest change of contrast, as a fraction of it; uint8 only."""
    hue: float = 0.0
    """largest angle in degrees by which the hue is turned; uint8 of three channels only."""
    blur: float = 0.0
    """largest standard deviation of a Gaussian blur, in pixels; uint8 only."""
    noise: float = 0.0
    """largest standard deviation of Gaussian noise, as a fraction of the range of values; uint8 only."""


@final
@dataclass(frozen=True)
class StrongAugmentation(Preset):
    """Flip, scale, shift, rotation, brightness, contrast, hue, blur and noise."""

    flip: float = 0.5
    """probability that left and right are exchanged."""
    scale: float = 2.0
    """largest factor by which the sample is enlarged or shrunk; 1 for none."""
    shift: float = 0.25
    """largest shift, as a fraction of the width and of the height."""
    rotation: float = 15.0
    """largest angle in degrees by which the sample is turned."""
    brightness: float = 0.25
    """largest change of brightness, as a fraction of the range of values; uint8 only."""
    contrast: float = 0.4
    """largest change of contrast, as a fraction of it; uint8 only."""
    hue: float = 20.0
    """largest angle in degrees by which the hue is turned; uint8 of three channels only."""
    blur: float = 1.5
    """largest standard deviation of a Gaussian blur, in pixels; uint8 only."""
    noise: float = 0.03
    """largest standard deviation of Gaussian noise, as a fraction of the range of values; uint8 only."""
