"""Read an image or a mask. Every error is a ValueError of one line that names the file."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import UnidentifiedImageError

from seglab.data.arrays import Array
from seglab.data.reading.formats import Decoder, Format, format_of
from seglab.data.reading.stored import UnusableError, check_size, upright


def read_image(file: Path) -> Array:
    """Read an image as a viewer shows it: (H,W,C) uint8, uint16 or float32.

    Grey images have one channel, palettes and other colour spaces become RGB, and transparency is dropped. All channels
    of a TIFF or an array are kept. Integers of 1 to 4 bits are scaled to 0…255; floats of 16 and 64 bits become
    float32. The orientation flag is applied.

    Raises:
        ValueError: the file cannot be read, or its pixels cannot be used. The message names the file.
    """
    with opened(file, "an image", "its mask") as stream:
        return decoded_image(stream)


def read_mask(file: Path) -> Array:
    """Read a mask (H,W) of labels as stored, of the file's integer type.

    The indices of a palette image are read, not its colours.

    A mask with an orientation flag of its own is turned as a viewer shows it, like an image.

    Raises:
        ValueError: the file cannot be read, its format is lossy, or it has several channels. The message names the
            file.
    """
    with opened(file, "a mask", "its image") as stream:
        return decoded_mask(stream)


def read_coloured_mask(file: Path, keep_labels: bool) -> Array:
    """Read a mask in colours (H,W,3) uint8 as a viewer shows it, the colours of a palette included.

    Transparency is dropped.

    Args:
        file: the mask.
        keep_labels: return a mask of one channel as `read_mask` does, (H,W) labels.

    Raises:
        ValueError: the file cannot be read, its format is lossy, or its colours do not have 8 bits. The message names
            the file.
    """
    with opened(file, "a mask", "its image") as stream:
        known = format_of(stream)
        stored = _mask_decoder(known)(stream)
        if keep_labels and (stored.pixels.ndim == 2 or stored.pixels.shape[2] == 1):
            return mask_of(upright(stored))
        if stored.pixels.ndim != 3 or stored.pixels.shape[2] != 3:  # greys, a palette, or transparency
            stream.seek(0)
            stored = known.image(stream)
        colours = image_of(upright(stored))
        if colours.dtype != np.uint8 or colours.shape[2] not in (1, 3):
            raise UnusableError(
                f"a mask of {colours.shape[2]} channels of {colours.dtype.name}; expected colours of 8 bits (RGB): convert it"
            )
        return np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3)))


def decoded_image(stream: BinaryIO) -> Array:
    """Decode the bytes of an image file, as `read_image` does.

    Raises:
        UnusableError: the pixels cannot be used.
        Exception: the bytes are damaged; a decoder may raise anything.
    """
    return image_of(upright(format_of(stream).image(stream)))


def decoded_mask(stream: BinaryIO) -> Array:
    """Decode the bytes of a mask file, as `read_mask` does. Raises what `decoded_image` raises."""
    return mask_of(upright(_mask_decoder(format_of(stream))(stream)))


@contextmanager
def opened(file: Path, what: str, partner: str | None) -> Iterator[BufferedReader]:
    """Open a regular file for reading bytes.

    Any error inside the block becomes a ValueError of one line that names the file.

    Args:
        file: the file.
        what: what the file is expected to hold, such as "an image".
        partner: the file that would have to be removed with this one; None if there is none.

    Raises:
        ValueError: the file is missing, unreadable, no regular file, or what the block does with it fails.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise UnusableError(f"is a {'folder' if file.is_dir() else 'device or pipe'}; expected a file with {what}: remove or rename it")
        with file.open("rb") as stream:
            yield stream
    except UnusableError as error:
        raise ValueError(f"{file}: {error}") from error
    except Exception as error:  # a decoder of damaged bytes may raise anything
        both = "" if partner is None else f" with {partner}"
        raise ValueError(f"{file}: cannot be read as {what} ({reason(error)}): replace the file, or remove it{both}") from error


def _mask_decoder(known: Format) -> Decoder:
    if known.mask is None:
        raise UnusableError(f"a mask as {known.name}; {known.why_no_mask}: export the mask again in a lossless format, such as PNG")
    return known.mask


def reason(error: Exception) -> str:
    """Return why a file or its bytes cannot be read, in one line."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    if isinstance(error, UnidentifiedImageError):  # Pillow's message names an object in memory, not the file
        return "its content is damaged"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def image_of(pixels: Array) -> Array:
    """Return pixels (H,W) or (H,W,C) as (H,W,C) uint8, uint16 or float32, contiguous and in native byte order.

    Raises:
        UnusableError: the shape or the type cannot be used.
    """
    if pixels.ndim not in (2, 3):
        raise UnusableError(f"an image of the shape {pixels.shape}; expected rows × columns, or rows × columns × channels")
    image = pixels if pixels.ndim == 3 else pixels[..., None]
    check_size(*image.shape[:2])
    if image.shape[2] == 0:
        raise UnusableError("an image without channels; expected at least one")
    return np.ascontiguousarray(_of_known_type(image))


def _of_known_type(image: Array) -> Array:
    if image.dtype == np.bool_:
        return image * np.uint8(255)
    if image.dtype.kind == "f" and image.dtype.itemsize <= 8:
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and the check of the data finds it
            return image.astype(np.float32, copy=False)
    if image.dtype.kind == "u" and image.dtype.itemsize <= 2:
        return image.astype(image.dtype.newbyteorder("="), copy=False)
    raise UnusableError(f"an image of {image.dtype.name}; expected uint8, uint16, or float32 from 0 to 1: convert it")


def mask_of(pixels: Array) -> Array:
    """Return the labels of a mask (H,W): uint8 for bool, else the stored integer type, in native byte order.

    Whole numbers that are stored as floats become int64.

    Raises:
        UnusableError: there are several channels, or the values are no integers.
    """
    if pixels.ndim == 3 and pixels.shape[2] > 1:
        colours = {2: " (grey and alpha)", 3: " (RGB)", 4: " (RGBA)"}.get(pixels.shape[2], "")
        remedy = "convert colours to indices, or name them in a table, the `classes` of ImageMaskFolder, which `seglab audit` begins"
        raise UnusableError(f"a mask of {pixels.shape[2]} channels{colours}; expected one, of class indices: {remedy}")
    labels = pixels[..., 0] if pixels.ndim == 3 else pixels
    if labels.ndim != 2:
        raise UnusableError(f"a mask of the shape {pixels.shape}; expected rows × columns")
    check_size(*labels.shape)
    if labels.dtype == np.bool_:
        return labels.astype(np.uint8)
    if labels.dtype.kind == "f":
        return _whole(labels)
    if labels.dtype.kind not in "iu":
        raise UnusableError(f"a mask of {labels.dtype.name}; expected integers, of class indices")
    return np.ascontiguousarray(labels.astype(labels.dtype.newbyteorder("="), copy=False))


def _whole(labels: Array) -> Array:
    """Return labels (H,W) that are stored as floats as int64."""
    with np.errstate(invalid="ignore"):
        integers = labels.astype(np.int64)
    if not np.array_equal(integers, labels):
        raise UnusableError(f"a mask of {labels.dtype.name} with values that are no integers; expected class indices")
    return integers
