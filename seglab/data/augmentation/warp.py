"""Warps and colour changes of one sample, by OpenCV.

Coordinates are (x, y); the centre of pixel [row, column] is (column, row).
"""

import math

import cv2
import numpy as np

from seglab.data.arrays import Array
from seglab.sample import IGNORE


def affine(size: tuple[int, int], *, scale: float, degrees: float, shift: tuple[float, float], flip: bool) -> Array:
    """Return the matrix (2,3) float64 that maps a pixel of the warped image to its place in the image.

    The warped image is the image mirrored left to right if `flip`, then scaled, then turned counter-clockwise, both
    about its centre, then shifted.

    Args:
        size: rows and columns of the image, which the warp keeps.
        scale: factor; above 1 enlarges.
        degrees: angle.
        shift: right and down, in pixels.
        flip: whether to mirror.
    """
    centre = np.array([size[1] - 1, size[0] - 1]) / 2
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn_back = np.array([[cosine, -sine], [sine, cosine]])  # y points down
    linear = np.diag([-1.0 if flip else 1.0, 1.0]) @ turn_back / scale
    return np.column_stack([linear, centre - linear @ (centre + shift)])


def warp(image: Array, mask: Array, matrix: Array) -> tuple[Array, Array]:
    """Warp an image (H,W,C) linearly, and its mask (H,W) by the nearest pixel. Outside are 0 and `IGNORE`.

    Args:
        image: uint8, uint16 or float32.
        mask: uint8.
        matrix: (2,3), from pixels of the result to places in the image.
    """
    groups = [_warped(image[..., first : first + 4], matrix, cv2.INTER_LINEAR, 0) for first in range(0, image.shape[-1], 4)]
    moved = groups[0] if len(groups) == 1 else np.concatenate(groups, axis=-1)
    return moved, _warped(mask[..., None], matrix, cv2.INTER_NEAREST, IGNORE)[..., 0]


def _warped(array: Array, matrix: Array, interpolation: int, fill: int) -> Array:
    """Warp an array (H,W,C) of at most four channels, which is as many as OpenCV fills."""
    rows, columns, channels = array.shape
    flags = interpolation | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(array, matrix, (columns, rows), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=[fill] * channels)
    return np.asarray(warped).reshape(rows, columns, channels)


def recoloured(image: Array, *, gain: float, offset: float, degrees: float) -> Array:
    """Change contrast and brightness of an image (H,W,C) uint8 about mid-grey, and turn the hue of three channels.

    Each value v becomes gain (v - 127.5) + 127.5 + offset, rounded and clipped to 0…255. The hue turns about the grey
    axis: grey stays.

    Args:
        image: the image.
        gain: factor of the contrast.
        offset: added to the brightness.
        degrees: angle of the hue.
    """
    constant = 127.5 * (1 - gain) + offset
    if image.shape[-1] == 3 and degrees != 0:
        matrix = np.column_stack([gain * _hue_rotation(degrees), [constant] * 3])
        return np.asarray(cv2.transform(image, matrix))
    table = np.clip(np.rint(gain * np.arange(256) + constant), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table)).reshape(image.shape)


def _hue_rotation(degrees: float) -> Array:
    """Return the rotation (3,3) of RGB about the axis (1, 1, 1), by Rodrigues' formula."""
    axis = np.full(3, 1 / math.sqrt(3))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = math.radians(degrees)
    rotation: Array = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    return rotation


def blurred(image: Array, sigma: float) -> Array:
    """Blur an image (H,W,C) uint8 by a Gaussian of `sigma` pixels.

    Less than a fifth of a pixel changes nothing that 8 bits hold.
    """
    if sigma < 0.2:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma)).reshape(image.shape)


def noisy(image: Array, deviation: float, rng: np.random.Generator) -> Array:
    """Add Gaussian noise to an image (H,W,C) uint8, of a standard deviation in units of pixel values."""
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(deviation)
    return np.asarray(np.clip(np.rint(image + noise), 0, 255).astype(np.uint8))
