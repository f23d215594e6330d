"""Pictures of samples for the page: an image, and its mask over it in the colours of the classes, as data addresses."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from seglab.data.arrays import Array, as_tensor, visible
from seglab.data.audit.finding import Audited, Place
from seglab.data.audit.look import raw_mask
from seglab.data.check import sample_of
from seglab.data.reading.read import read_image
from seglab.sample import IGNORE

SIDE = 300
"""Longest side of a picture."""


class Shown(NamedTuple):
    """A sample on the page."""

    name: str
    image: str
    """Address of the picture; empty if the image cannot be read."""
    mask: str
    """Address of the mask, over the image if both have one size; empty if the mask cannot be read."""


def shown(audited: Audited, place: Place, palette: npt.NDArray[np.uint8]) -> Shown:
    """Return the pictures of a sample. What cannot be read is left out."""
    image_file, mask_file = audited.image_file(place), audited.mask_file(place)
    pixels: Array | None = None
    mask: Array | None = None
    name = f"{place.split} {place.index}" if image_file is None else f"{place.split}: {image_file.name}"
    try:
        sample = sample_of(audited.splits[place.split], place.index)
        pixels, mask = visible(sample.image), sample.mask.numpy()
    except Exception:  # noqa: BLE001 - a finding says why; its other half is shown
        pixels = None if image_file is None else _image(image_file)
    if mask is None and mask_file is not None:
        read = raw_mask(mask_file)
        mask = None if read is None else read[0]
    overlaid = "" if mask is None else _address(_drawn(mask, pixels, palette))
    return Shown(name, "" if pixels is None else _address(_small(pixels)), overlaid)


def _image(file: Path) -> Array | None:
    try:
        return visible(as_tensor(read_image(file)))
    except ValueError:
        return None


def _small(pixels: Array, resample: Image.Resampling = Image.Resampling.BILINEAR) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    scale = min(1.0, SIDE / max(picture.size))
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), resample)


def _drawn(mask: Array, pixels: Array | None, palette: npt.NDArray[np.uint8]) -> Image.Image:
    """Return a mask of labels (H,W) over its image in the palette's colours, or a mask of colours (H,W,C) as it is."""
    if mask.ndim == 3:
        colours = mask[..., :3] if mask.shape[2] >= 3 else mask[..., [0, 0, 0]]
        return _small(colours.astype(np.uint8), Image.Resampling.NEAREST)
    table = np.full((256, 3), 255, np.uint8)
    table[: len(palette)] = palette[:256]
    table[IGNORE] = (255, 255, 255)
    coloured = _small(table[mask.astype(np.int64) & 255], Image.Resampling.NEAREST)
    if pixels is None or pixels.shape[:2] != mask.shape:
        return coloured
    return Image.blend(_small(pixels).convert("L").convert("RGB"), coloured, 0.65)


def _address(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
