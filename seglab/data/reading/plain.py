"""Decode plain PNGs and JPEGs by OpenCV, which takes less time than Pillow and gives the same pixels.

All other files are left to Pillow.
"""

import struct
import zlib
from itertools import groupby
from typing import NamedTuple

import cv2
import numpy as np

from seglab.data.arrays import Array

_BARE_CHUNKS = frozenset({b"IHDR", b"IDAT", b"IEND", b"pHYs", b"tIME", b"gAMA", b"sRGB", b"cHRM"})
_CHUNKS = _BARE_CHUNKS | {b"tEXt", b"eXIf"}
"""Chunks of a plain PNG. None of them changes a value. Those that are not bare may hold the orientation."""
_HEADERS = {b"\x08\x00\x00\x00\x00": True, b"\x08\x02\x00\x00\x00": False}
"""Depth, colour type, compression, filter and interlacing of a plain PNG, and whether it is grey."""

_FRAMES, _SCAN, _END = (0xC0, 0xC1), 0xDA, b"\xff\xd9"
"""JPEG markers: frames that are neither progressive nor arithmetically coded, the start of a scan, and the end."""
_CODES, _QUANTA = 0xC4, 0xDB
_BARE_MARKERS = frozenset({*_FRAMES, _SCAN, _CODES, _QUANTA, 0xDD, 0xFE, 0xE0, 0xEE})
"""Markers of a plain JPEG: frame, scan, tables, restart interval, comment, JFIF and Adobe. Others (0xE1 and so on) are
metadata.
"""


class Plain(NamedTuple):
    """A file that OpenCV decodes as Pillow does."""

    grey: bool
    """True for one channel, False for RGB."""
    bare: bool
    """True if the file has no metadata that could hold the orientation."""


def plain(content: bytes) -> Plain | None:
    """Return what a file is, if it is a plain PNG or JPEG; None if it is not.

    A file is plain if it has 8 bits a channel and its structure shows that it is whole. OpenCV alone would fill the
    missing part of a JPEG.
    """
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _plain_png(content)
    return _plain_jpeg(content) if content.startswith(b"\xff\xd8\xff") else None


def decode(content: bytes, grey: bool) -> Array | None:
    """Decode a plain file: (H,W) uint8 if `grey`, else (H,W,3) uint8. Return None if OpenCV cannot decode it."""
    how = cv2.IMREAD_UNCHANGED if grey else cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION  # faster than IMREAD_GRAYSCALE
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), how)
    except cv2.error:  # such as more pixels than OpenCV takes
        return None
    return None if pixels is None else np.asarray(pixels)


def _plain_png(content: bytes) -> Plain | None:
    """Return what a PNG is, if it has no transparency, no interlacing, right checksums and its end."""
    place, kinds = 8, list[bytes]()
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        if kind not in _CHUNKS or end + 4 > len(content) or zlib.crc32(content[place + 4 : end]) != int.from_bytes(content[end : end + 4]):
            return None
        kinds.append(kind)
        place = end + 4
    parts = [kind for kind, _ in groupby(kinds)]
    if place != len(content) or parts[:1] != [b"IHDR"] or parts[-1] != b"IEND" or parts.count(b"IDAT") != 1:
        return None
    if not _BARE_CHUNKS.issuperset(kinds[kinds.index(b"IDAT") :]):  # after the pixels, where opening the file does not find them
        return None
    grey = _HEADERS.get(content[24:29])
    return None if grey is None else Plain(grey, _BARE_CHUNKS.issuperset(kinds))


def _plain_jpeg(content: bytes) -> Plain | None:
    """Return what a JPEG is, if it has one scan, coded sequentially by Huffman codes, and its end right after the scan.

    A decoder then never lacks bytes: the codes of the pixels end at the end of the file.
    """
    place, found, channels = 2, set[int](), 0
    while _SCAN not in found:
        if place + 4 > len(content) or content[place] != 0xFF:
            return None
        marker = content[place + 1]
        if marker not in _BARE_MARKERS and not 0xE1 <= marker <= 0xEF:
            return None
        if marker in _FRAMES:
            channels = content[place + 9] if place + 9 < len(content) and content[place + 4] == 8 else 0
        found.add(marker)
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
    if channels not in (1, 3) or not {_CODES, _QUANTA} <= found or place + 2 > len(content) or not content.endswith(_END):
        return None
    return Plain(channels == 1, found <= _BARE_MARKERS) if _is_one_scan(np.frombuffer(content, np.uint8, -1, place)[:-2]) else None


def _is_one_scan(codes: Array) -> bool:
    """Return whether codes of pixels (N,) uint8 hold no marker but restart markers. A code 0xFF is followed by 0."""
    if len(codes) == 0 or codes[-1] == 0xFF:
        return False
    marked = codes[:-1] == 0xFF
    np.minimum(marked.view(np.uint8), codes[1:], out=marked.view(np.uint8))  # "and not 0", without another array of this size
    if not marked.any():
        return True
    after = codes[1:][marked]
    return bool(((after >= 0xD0) & (after <= 0xD7)).all())
