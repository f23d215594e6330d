"""Files written byte by byte, so that no library's writer agrees with its own reader by mistake."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[Any]
Chunk = tuple[bytes, bytes]

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""Colour types of a PNG."""

_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps, of the passes of an interlaced PNG."""


def packed(row: Array, bits: int) -> bytes:
    """Return unsigned values of 1 to 16 bits, the most significant bit first."""
    if bits >= 8:
        return row.astype(f">u{bits // 8}").tobytes()
    return np.packbits((row.reshape(-1, 1) >> np.arange(bits - 1, -1, -1)) & 1).tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values: Array, depth: int, colour: int, interlaced: bool = False, chunks: Sequence[Chunk] = ()) -> bytes:
    """Return a PNG of values (H,W) or (H,W,C) below 2**depth."""
    rows, columns = values.shape[:2]
    passes = [values[y::down, x::right] for x, y, right, down in _PASSES] if interlaced else [values]
    data = b"".join(b"\0" + packed(row, depth) for part in passes if part.size for row in part)
    header = struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, int(interlaced))
    middle = b"".join(chunk(kind, content) for kind, content in chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + middle + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def bmp(indices: Array, bits: int, palette: Sequence[tuple[int, int, int]]) -> bytes:
    """Return a BMP of indices (H,W) into a palette of RGB."""
    rows, columns = indices.shape
    lines = [packed(row, bits) for row in indices[::-1]]
    body = b"".join(line + bytes(-len(line) % 4) for line in lines)
    table = b"".join(bytes((blue, green, red, 0)) for red, green, blue in palette)
    start = 14 + 40 + len(table)
    info = struct.pack("<IiiHHIIiiII", 40, columns, rows, 1, bits, 0, len(body), 0, 0, len(palette), 0)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + table + body


def exif(orientation: int) -> bytes:
    """Return EXIF metadata with nothing but an orientation."""
    return b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + bytes(4)


def by_pillow(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
