"""Decode plain PNGs and JPEGs by OpenCV, which takes less time than Pillow and gives the same pixels. All other files are left to Pillow."""

import struct
import zlib
from itertools import groupby

import cv2
import numpy as np

from seglab.data.arrays import Array

_PNG = {"L": b"\x08\x00\x00\x00\x00", "RGB": b"\x08\x02\x00\x00\x00"}
"""Depth, colour type, compression, filter and interlacing in the header of a PNG, by mode of Pillow: 8 bits, not interlaced."""
_CHUNKS = frozenset({b"IHDR", b"IDAT", b"IEND", b"pHYs", b"tEXt", b"tIME", b"gAMA", b"sRGB", b"cHRM", b"eXIf"})
"""Chunks of a plain PNG. None of them changes a value."""

_SEQUENTIAL = frozenset({0xC0, 0xC1})
"""Markers of a JPEG's frame that is neither progressive nor arithmetically coded."""
_TABLES = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""Markers of Huffman tables, quantisation tables, the restart interval, comments and metadata."""
_SCAN, _END = 0xDA, 0xD9
_IN_SCAN = np.isin(np.arange(256), [0x00, *range(0xD0, 0xD8)])
"""True for the bytes that may follow 0xFF in the coded pixels: a coded 0xFF, and restart markers."""


def decoded(content: bytes, name: str, mode: str) -> Array | None:
    """Decode a plain file of 8 bits: (H,W) uint8 for grey, (H,W,3) for RGB. Return None if the file is not plain, or if OpenCV fails.

    A file is plain if its structure shows that it is whole. OpenCV alone would fill the missing part of a JPEG with grey.

    Args:
        content: the bytes of the file.
        name: "PNG" or "JPEG". Files of other formats are not plain.
        mode: Pillow's mode of the picture, such as "L" or "RGB".
    """
    if mode not in _PNG or not (is_plain_png(content, mode) if name == "PNG" else name == "JPEG" and is_plain_jpeg(content)):
        return None
    colours = cv2.IMREAD_GRAYSCALE if mode == "L" else cv2.IMREAD_COLOR_RGB
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), colours | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # such as a side of more pixels than OpenCV takes
        return None
    return None if pixels is None else np.asarray(pixels)


def is_plain_png(content: bytes, mode: str) -> bool:
    """Return whether a PNG has 8 bits a channel, no transparency, no interlacing, right checksums and its end.

    Args:
        content: the bytes of the file.
        mode: "L" for grey, "RGB" for colours.
    """
    place, kinds = 8, list[bytes]()
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        if kind not in _CHUNKS or end + 4 > len(content) or zlib.crc32(content[place + 4 : end]) != int.from_bytes(content[end : end + 4]):
            return False
        kinds.append(kind)
        place = end + 4
    parts = [kind for kind, _ in groupby(kinds)]
    whole = parts[:1] == [b"IHDR"] and parts.count(b"IDAT") == 1 and kinds[-1] == b"IEND" and place == len(content)
    return whole and content[24:29] == _PNG[mode]


def is_plain_jpeg(content: bytes) -> bool:
    """Return whether a JPEG has one scan, coded sequentially by Huffman codes, and its end right after the scan.

    A decoder then never lacks bytes: each code of pixels ends at the end of the file.
    """
    place, found = 2, set[int]()
    while content[place : place + 1] == b"\xff" and place + 4 <= len(content):
        marker = content[place + 1]
        found.add(marker)
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
        if marker == _SCAN:
            break
        if marker not in _SEQUENTIAL and marker not in _TABLES:
            return False
    if not {_SCAN, 0xC4, 0xDB} <= found or not found & _SEQUENTIAL or content[-2:] != bytes([0xFF, _END]) or place > len(content) - 2:
        return False
    scan = np.frombuffer(content, np.uint8, len(content) - 2 - place, place)
    places = np.flatnonzero(scan == 0xFF)
    return bool(len(scan) and scan[-1] != 0xFF and _IN_SCAN[scan[places + 1]].all())
