"""Draw the images of `Shapes`: shapes are signed distances to outlines (negative inside), painted over each other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from seglab.data.arrays import as_tensor
from seglab.sample import Sample

Field = npt.NDArray[np.float32]
Colour = npt.NDArray[np.float64]
Outline = Callable[[Field, Field, float], Field]
"""Function (x, y, radius) → signed distance, in pixels. The fields x and y (H,W) are coordinates in the shape's own
frame, from its centre.
"""


def disc(x: Field, y: Field, radius: float) -> Field:
    """Return the signed distance to a filled circle."""
    return np.hypot(x, y) - np.float32(0.85 * radius)


def square(x: Field, y: Field, radius: float) -> Field:
    """Return the signed distance to a filled square."""
    return np.maximum(np.abs(x), np.abs(y)) - np.float32(0.75 * radius)


def triangle(x: Field, y: Field, radius: float) -> Field:
    """Return the signed distance to a filled equilateral triangle."""
    sides = np.float32(0.866) * np.abs(x) - np.float32(0.5) * y
    return np.maximum(sides, y) - np.float32(0.5 * radius)


def cross(x: Field, y: Field, radius: float) -> Field:
    """Return the signed distance to two crossing bars."""
    long, short = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    return np.asarray(np.maximum(long - np.float32(radius), short - np.float32(0.3 * radius)))


def ring(x: Field, y: Field, radius: float) -> Field:
    """Return the signed distance to a circle with a hole."""
    return np.abs(np.hypot(x, y) - np.float32(0.7 * radius)) - np.float32(0.24 * radius)


def star(x: Field, y: Field, radius: float) -> Field:
    """Return the signed distance to a star of five points. Its radius is a cosine of the angle."""
    edge = np.float32(radius) * (np.float32(0.68) + np.float32(0.32) * np.cos(5 * np.arctan2(y, x)))
    return np.asarray(np.hypot(x, y) - edge, np.float32)


OUTLINES: Mapping[str, Outline] = {"disc": disc, "square": square, "triangle": triangle, "cross": cross, "ring": ring, "star": star}
"""Kinds of shapes, from frequent to rare."""

SHADOW = 0.06  # reach of the shadow around a shape, as a fraction of the image size


@dataclass(frozen=True)
class Style:
    """Settings that the images of a split have in common."""

    image_size: int
    noise: float
    label_noise: float


class ShapeImages(Dataset[Sample]):
    """One split. Image i is a function of (`stream`, i) and the style."""

    def __init__(self, name: str, stream: int, length: int, class_names: tuple[str, ...], style: Style) -> None:
        self.name, self.stream, self.length, self.class_names, self.style = name, stream, length, class_names, style

    @property
    def num_classes(self) -> int:
        """C, the number of kinds of shapes plus the background."""
        return len(self.class_names)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"image {index} of {self.length}")
        image, mask = draw(np.random.default_rng([self.stream, index]), self.class_names[1:], self.style)
        return Sample(as_tensor(image), torch.from_numpy(mask), f"{self.name}/{index}")


def draw(rng: np.random.Generator, kinds: tuple[str, ...], style: Style) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draw an image (S,S,3) and its mask (S,S).

    Label 0 is the background, 1… are `kinds`, each 0.7 times as frequent as the previous.
    """
    size = style.image_size
    frequency = 0.7 ** np.arange(len(kinds))
    ground = rng.uniform(0.35, 0.65) + rng.uniform(-0.1, 0.1, 3)
    canvas, mask = _texture(rng, ground, (size, size), size, strength=0.10), np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(2, 8)):
        kind = int(rng.choice(len(kinds), p=frequency / frequency.sum()))
        window, distance = _place(rng, OUTLINES[kinds[kind]], size)
        _paint(rng, canvas[window], distance, _colour(rng, kind, ground), size)
        mislabelled, other = rng.random() < style.label_noise, int(rng.integers(1, max(2, len(kinds))))
        mask[window][distance < 0] = 1 + ((kind + other) % len(kinds) if mislabelled else kind)
    canvas *= _light(rng, size)
    canvas += style.noise * rng.standard_normal(canvas.shape, dtype=np.float32)
    return np.clip(255 * canvas, 0, 255).astype(np.uint8), mask


def _place(rng: np.random.Generator, outline: Outline, size: int) -> tuple[tuple[slice, slice], Field]:
    """Draw place, size and turn of a shape, perhaps partly outside.

    Return a window (H,W) around it and the signed distances in it.
    """
    radius = float(rng.uniform(0.09, 0.24)) * size
    row, column = (float(place) for place in rng.uniform(0.05, 0.95, 2) * size)
    angle = rng.uniform(0, 2 * np.pi)
    reach = 1.1 * radius + SHADOW * size
    window = slice(max(0, int(row - reach)), int(row + reach) + 2), slice(max(0, int(column - reach)), int(column + reach) + 2)
    steps = np.arange(size, dtype=np.float32)
    rows, columns = steps[window[0], None] - np.float32(row), steps[window[1]] - np.float32(column)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return window, outline(cos * columns + sin * rows, cos * rows - sin * columns, radius)


def _colour(rng: np.random.Generator, kind: int, ground: Colour) -> Colour:
    """Draw a colour.

    The hue varies around the typical hue of the kind, up to the typical hues of neighbouring kinds. Contrast varies.
    """
    hue = 2 * np.pi * kind / len(OUTLINES) + 0.3 * rng.standard_normal()
    shade = rng.uniform(-0.15, 0.15) + rng.uniform(0.2, 0.5) * np.cos(hue - 2 * np.pi / 3 * np.arange(3))
    return np.asarray(np.clip(ground + shade, 0.05, 0.95))


def _paint(rng: np.random.Generator, canvas: Field, distance: Field, colour: Colour, size: int) -> None:
    """Paint a textured shape with soft edges and a shadow around it over the canvas (H,W,3), in place."""
    shadow = np.clip(1 - distance / np.float32(SHADOW * size), 0, 1)
    canvas *= (1 - np.float32(0.35) * shadow * shadow)[..., None]
    cover = np.clip(np.float32(0.5) - distance, 0, 1)[..., None]
    canvas += cover * (_texture(rng, colour, distance.shape, size, strength=0.06) - canvas)


def _texture(rng: np.random.Generator, colour: Colour, shape: tuple[int, ...], size: int, strength: float) -> Field:
    """Draw a texture (H,W,3): a colour with blotches and a grating, both in one random tint.

    Wavelengths are proportional to `size`.
    """
    height, width = shape
    blotches = cv2.resize(rng.standard_normal((6, 6), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    angle, frequency = rng.uniform(0, np.pi), 2 * np.pi * rng.uniform(3, 12) / size
    down = np.arange(height, dtype=np.float32)[:, None] * np.float32(frequency * np.sin(angle))
    across = np.arange(width, dtype=np.float32) * np.float32(frequency * np.cos(angle))
    pattern = blotches + np.float32(rng.uniform(0, 0.8)) * np.sin(down + across)
    tint = strength * (1 + 0.4 * rng.standard_normal(3))
    return np.asarray(colour + pattern[..., None] * tint.astype(np.float32), np.float32)


def _light(rng: np.random.Generator, size: int) -> Field:
    """Draw the brightness (S,S,1), which decreases across the image in a random direction."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.4)
    across = np.linspace(-1, 1, size, dtype=np.float32)
    slope = np.float32(np.sin(angle)) * across[:, None] + np.float32(np.cos(angle)) * across
    return np.asarray(1 + np.float32(strength) * slope, np.float32)[..., None]
