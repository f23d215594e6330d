"""Decode TIFF by tifffile, which gives the stored values: any number of channels, byte order, compression, layout."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from PIL import Image
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, TiffFile, TiffPage

from seglab.data.arrays import Array
from seglab.data.reading.stored import LARGE, Stored, UnusableError, check_size, empty, forget

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what matters is raised; without a handler it would be printed as well

_LOSSLESS = frozenset(
    {
        COMPRESSION.NONE,
        COMPRESSION.CCITTRLE,
        COMPRESSION.CCITT_T4,
        COMPRESSION.CCITT_T6,
        COMPRESSION.LZW,
        COMPRESSION.ADOBE_DEFLATE,
        COMPRESSION.DEFLATE,
        COMPRESSION.PACKBITS,
        COMPRESSION.LZMA,
        COMPRESSION.ZSTD,
        COMPRESSION.PNG,
    }
)
_JPEG = frozenset({COMPRESSION.JPEG, COMPRESSION.OJPEG})
_ALPHA = frozenset({EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA})


def image(stream: BinaryIO) -> Stored:
    """Decode an image as a viewer shows it: (H,W) or (H,W,C), of the file's data type.

    Channels that are declared as alpha are dropped.

    Palettes and CMYK become RGB, grey whose 0 is white is inverted, and 1 to 4 bits are scaled to 0…255.
    """
    with _page(stream) as page:
        bits, kind = page.bitspersample, page.photometric
        if page.sampleformat == 1 and bits not in (1, 2, 4, 8, 16):
            raise UnusableError(f"{bits} bits per channel; expected 8 or 16 bits, or floats: convert the image")
        pixels = _without_alpha(page, _as_stored(page))
        match kind:
            case PHOTOMETRIC.PALETTE if pixels.ndim == 2:
                pixels = _coloured(page, pixels)
            case PHOTOMETRIC.MINISWHITE if pixels.dtype.kind in "bu":
                pixels = _scaled(~pixels if bits >= 8 else 2**bits - 1 - pixels.astype(np.uint8), bits)
            case PHOTOMETRIC.SEPARATED if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 4:
                pixels = np.array(Image.fromarray(np.ascontiguousarray(pixels), "CMYK").convert("RGB"))
            case PHOTOMETRIC.MINISBLACK | PHOTOMETRIC.RGB:
                pixels = _scaled(pixels, bits)
            case PHOTOMETRIC.YCBCR if page.compression in _JPEG:
                pass  # the JPEG decoder has made RGB of it
            case _:
                raise UnusableError(f"a TIFF of {_name(kind)} with {pixels.dtype}, which is not read: convert it to RGB or grey")
        return Stored(pixels, _orientation(page))


def mask(stream: BinaryIO) -> Stored:
    """Decode a mask: (H,W) as stored, the indices of a palette, or (H,W,C) colours."""
    with _page(stream) as page:
        if page.compression not in _LOSSLESS:
            raise UnusableError(
                f"a mask compressed by {_name(page.compression)}, which can change labels; expected a lossless compression, "
                "such as deflate or LZW: export the mask again"
            )
        if page.photometric == PHOTOMETRIC.MINISWHITE:
            raise UnusableError(
                "a mask whose 0 is white (MINISWHITE), so that its labels are ambiguous: save it with 0 as black, or as a PNG"
            )
        return Stored(_as_stored(page), _orientation(page))


@contextmanager
def _page(stream: BinaryIO) -> Iterator[TiffPage]:
    """Give the only picture of a TIFF, apart from smaller copies of it and masks of transparency.

    Raises:
        UnusableError: there are several pictures, or the picture is too large, has no known data type or lacks data.
    """
    with TiffFile(stream) as file:
        pages = [page for page in file.pages if isinstance(page, TiffPage) and not page.is_reduced and not page.is_mask]
        if len(pages) != 1:
            raise UnusableError(
                f"a TIFF of {len(pages)} pages; expected one: save each as a file, or the channels with planarconfig='contig'"
            )
        page = pages[0]
        check_size(page.imagelength, page.imagewidth)
        if page.imagedepth != 1 or ((page.is_imagej or page.is_shaped) and file.series[0].size != page.size):
            raise UnusableError("a TIFF of a volume or a stack; expected one picture: save each as a file")
        if page.dtype is None:
            raise UnusableError(f"a TIFF of {page.bitspersample} bits of sample format {page.sampleformat}, which is not read")
        _check_whole(page, stream)
        yield page


def _check_whole(page: TiffPage, stream: BinaryIO) -> None:
    """Raise a ValueError if a strip or tile lies outside of the file.

    The library tifffile would leave the pixels of such a part uninitialised.
    """
    length = stream.seek(0, 2)
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    expected = 1 if page.is_contiguous else math.prod(page.chunked)
    if len(parts) < expected or any(offset <= 0 or count <= 0 or offset + count > length for offset, count in parts[:expected]):
        raise ValueError("strips or tiles without data")


def _as_stored(page: TiffPage) -> Array:
    """Return the values (H,W) or (H,W,C)."""
    stored = _mapped(page) if page.nbytes > LARGE else page.asarray(maxworkers=1, squeeze=False)
    pixels = np.asarray(stored)  # (planes,depth,H,W,samples), depth 1
    planes = pixels[:, 0].transpose(1, 2, 0, 3)
    pixels = planes.reshape(*planes.shape[:2], -1)
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def _mapped(page: TiffPage) -> Array:
    """Return the values (planes,depth,H,W,samples) of a large picture in a file that is mapped into memory.

    Uncompressed values are mapped as they lie in the TIFF. Others are decoded into a temporary file, strip by strip or
    tile by tile.
    """
    if page.is_memmappable:
        return page.asarray(out="memmap", squeeze=False)
    values = empty(page.shaped, np.dtype(page.dtype))
    for number, (segment, (plane, depth, row, column, _), shape) in enumerate(page.segments(maxworkers=1)):
        place = (plane, slice(depth, depth + shape[0]), slice(row, row + shape[1]), slice(column, column + shape[2]))
        values[place] = 0 if segment is None else segment[: page.imagedepth - depth, : page.imagelength - row, : page.imagewidth - column]
        if number % 256 == 255:
            forget(values)
    return values


def _without_alpha(page: TiffPage, pixels: Array) -> Array:
    extra = page.extrasamples
    alpha = [place - len(extra) for place, kind in enumerate(extra) if kind in _ALPHA]
    kept = np.delete(pixels, alpha, axis=-1) if alpha else pixels
    return kept[..., 0] if kept.ndim == 3 and kept.shape[2] == 1 else kept


def _scaled(pixels: Array, bits: int) -> Array:
    """Scale values of 1, 2 and 4 bits to 0…255."""
    return pixels.astype(np.uint8) * np.uint8(255 // (2**bits - 1)) if bits < 8 else pixels


def _coloured(page: TiffPage, indices: Array) -> Array:
    """Return the colours (H,W,3) uint8 of the indices of a palette."""
    table = page.colormap
    if table is None:
        raise UnusableError("a TIFF of palette indices without its palette")
    colours = (table if table.max() < 256 else table >> 8).astype(np.uint8)  # some writers fill 8 of the 16 bits
    return np.moveaxis(colours[:, indices.astype(np.intp)], 0, -1)


def _orientation(page: TiffPage) -> int:
    flag = page.tags.valueof("Orientation", 1)
    return int(flag) if flag in range(1, 9) else 1


def _name(value: int) -> str:
    return str(getattr(value, "name", value))
