"""Decode PNG, JPEG, GIF, BMP and WebP by Pillow, but plain files (see `plain`) and 16-bit colours by OpenCV.

Pillow cuts 16-bit colours to 8 bits.
"""

import contextlib
from io import BytesIO
from typing import BinaryIO

import cv2
import numpy as np
from PIL import ExifTags, Image

from seglab.data.arrays import Array
from seglab.data.reading.plain import decode, plain
from seglab.data.reading.stored import Stored, UnusableError, check_size

Image.MAX_IMAGE_PIXELS = None  # Pillow refuses images above 179 million pixels; `check_size` has a higher limit, the same for every format

_GREY, _RGB, _GREY_AND_ALPHA = 0, 2, 4
"""Colour types of a PNG. The others are palette and RGBA."""


def image(stream: BinaryIO, name: str) -> Stored:
    """Decode an image as a viewer shows it: (H,W) uint8 for grey, else (H,W,3) uint8. Transparency is dropped."""
    content = stream.read()
    if (found := _plain(content, name)) is not None:
        return found
    with _opened(BytesIO(content), name) as opened:
        opened.info.pop("transparency", None)
        if opened.mode in ("L", "RGB"):
            return stored(opened, np.array(opened))
        return stored(opened, np.array(opened.convert("L" if opened.mode in ("1", "LA", "La") else "RGB")))


def mask(stream: BinaryIO, name: str) -> Stored:
    """Decode a mask: (H,W) bool or uint8 as stored, the indices of a palette, or (H,W,C) uint8 colours."""
    content = stream.read()
    if (found := _plain(content, name)) is not None:
        return found
    with _opened(BytesIO(content), name) as opened:
        return stored(opened, np.array(opened))


def png_image(stream: BinaryIO) -> Stored:
    """Decode a PNG image: (H,W) for grey, (H,W,3) for colours; uint16 for 16 bits, else uint8.

    1 to 4 bits are scaled to 0…255.
    """
    depth, colour = _png_header(stream)
    if depth < 16:
        return image(stream, "PNG")
    grey = mask(stream, "PNG")  # also raises if the file is damaged, of which OpenCV would print lines
    return grey if colour == _GREY else grey._replace(pixels=_colours_of_16_bits(stream, colour))


def png_mask(stream: BinaryIO) -> Stored:
    """Decode a PNG mask: (H,W) as stored, or (H,W,C) colours.

    Pillow scales grey of 2 and 4 bits to 0…255; this is undone. It cuts colours of 16 bits, which are read by OpenCV.
    """
    depth, colour = _png_header(stream)
    labels = mask(stream, "PNG")
    if colour == _RGB and depth == 16:
        return labels._replace(pixels=_colours_of_16_bits(stream, colour))
    if colour == _GREY and depth in (2, 4):
        return labels._replace(pixels=labels.pixels // np.uint8(255 // (2**depth - 1)))
    return labels


def bmp_image(stream: BinaryIO) -> Stored:
    """Decode a BMP image as `image` does."""
    _check_bmp(stream)
    return image(stream, "BMP")


def bmp_mask(stream: BinaryIO) -> Stored:
    """Decode a BMP mask as `mask` does."""
    _check_bmp(stream)
    return mask(stream, "BMP")


def _opened(stream: BinaryIO, name: str) -> Image.Image:
    """Read the header of an image of the format `name`, and check that it holds one picture."""
    opened = Image.open(stream, formats=(name,))
    check_size(opened.height, opened.width)
    if opened.format != "MPO" and getattr(opened, "is_animated", False):  # a JPEG's first picture is the photograph, an MPO
        raise UnusableError(f"an animated {name} of {getattr(opened, 'n_frames', 'several')} frames; expected one picture: save one frame")
    if name == "GIF" and opened.tile[0][1] != (0, 0, *opened.size):
        raise UnusableError("a GIF whose picture covers a part of its area only: save it again, as a PNG")
    return opened


def _plain(content: bytes, name: str) -> Stored | None:
    """Decode the bytes of a plain file of the format `name`.

    Return None for other files, and for files that OpenCV cannot decode.
    """
    found = plain(content)
    if found is None:
        return None
    if found.bare:
        pixels = decode(content, found.grey)
        return None if pixels is None else Stored(pixels)
    with _opened(BytesIO(content), name) as opened:  # reads the orientation
        pixels = decode(content, found.grey)
        return None if pixels is None else stored(opened, pixels)


def stored(opened: Image.Image, pixels: Array) -> Stored:
    """Return the decoded pixels with the orientation flag of the file (EXIF or XMP).

    If the metadata are broken, there is no flag: the pixels are good all the same.
    """
    with contextlib.suppress(Exception):
        flag = opened.getexif().get(ExifTags.Base.Orientation) if opened.info else None  # without metadata there is nothing to search
        if isinstance(flag, int) and 1 <= flag <= 8:
            return Stored(pixels, flag)
    return Stored(pixels)


def _png_header(stream: BinaryIO) -> tuple[int, int]:
    """Return the bits per channel and the colour type of a PNG."""
    header = _beginning(stream)
    return header[24], header[25]


def _beginning(stream: BinaryIO) -> bytes:
    """Return the first 30 bytes, and go back to the beginning."""
    header = stream.read(30)
    stream.seek(0)
    if len(header) < 30:
        raise ValueError("the file is cut off")
    return header


def _colours_of_16_bits(stream: BinaryIO, colour: int) -> Array:
    """Decode a PNG of 16 bits: (H,W) uint16 for grey and alpha, else (H,W,3)."""
    stream.seek(0)
    pixels = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV finds no 16-bit colours in it")
    return np.asarray(pixels)[..., 0] if colour == _GREY_AND_ALPHA else np.asarray(pixels)[..., 2::-1]  # from BGR or BGRA


def _check_bmp(stream: BinaryIO) -> None:
    """Refuse a BMP whose palette is a ramp of grey that does not fill its bits.

    Pillow reads such pixels at another number of bits.
    """
    header = _beginning(stream)
    bits = header[24 if int.from_bytes(header[14:18], "little") == 12 else 28]
    with _opened(stream, "BMP") as opened:
        if {"1": 1, "L": 8}.get(opened.mode, bits) != bits:
            raise UnusableError(f"a BMP of {bits} bits with a short palette of greys, which is not read: save it as a PNG")
    stream.seek(0)
