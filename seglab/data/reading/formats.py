"""Formats of image files. A file's format is told by its first bytes, never by the ending of its name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import numpy as np

from seglab.data.reading import pillow, tiff
from seglab.data.reading.stored import LARGE, Stored

Decoder = Callable[[BinaryIO], Stored]


@dataclass(frozen=True)
class Format:
    """A format that is read."""

    name: str
    endings: tuple[str, ...]
    """Endings of the files that a folder of images or masks is searched for."""
    starts: tuple[bytes, ...]
    """First bytes of a file, one of these."""
    image: Decoder
    mask: Decoder | None
    """Decoder of masks; None if the format can hold none."""
    why_no_mask: str = ""
    """Reason why the format can hold no mask, as the end of a sentence."""


def _array(stream: BinaryIO) -> Stored:
    """Decode an array of NumPy (.npy). A large array is mapped into memory."""
    size = stream.seek(0, 2)
    stream.seek(0)
    return Stored(np.load(stream.name, mmap_mode="c") if size > LARGE else np.load(stream, allow_pickle=False))


FORMATS = (
    Format("PNG", (".png",), (b"\x89PNG\r\n\x1a\n",), pillow.png_image, pillow.png_mask),
    Format(
        "JPEG",
        (".jpg", ".jpeg"),
        (b"\xff\xd8\xff",),
        partial(pillow.image, name="JPEG"),
        None,
        "JPEG is lossy and changes labels, most of all at the borders of classes",
    ),
    Format("TIFF", (".tif", ".tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), tiff.image, tiff.mask),
    Format("BMP", (".bmp",), (b"BM",), pillow.bmp_image, pillow.bmp_mask),
    Format("GIF", (".gif",), (b"GIF87a", b"GIF89a"), partial(pillow.image, name="GIF"), partial(pillow.mask, name="GIF")),
    Format(
        "WebP",
        (".webp",),
        (b"RIFF",),
        partial(pillow.image, name="WEBP"),
        None,
        "WebP holds colours and no indices, and is usually lossy",
    ),
    Format("NumPy", (".npy",), (b"\x93NUMPY",), _array, _array),
)

ENDINGS = frozenset(ending for known in FORMATS for ending in known.endings)
"""Endings of the files that are read, in lower case."""

OTHER_ENDINGS = frozenset(
    [
        ".avif",
        ".dcm",
        ".dng",
        ".exr",
        ".heic",
        ".heif",
        ".j2k",
        ".jp2",
        ".jxl",
        ".nii",
        ".npz",
        ".pbm",
        ".pgm",
        ".pnm",
        ".ppm",
        ".psd",
        ".tga",
    ]
)
"""Endings of images that are not read. A folder of images that contains such a file is refused: its images would be
left out in silence.
"""

OTHERS = {
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"ftypavif": "AVIF",
    b"ftypavis": "AVIF",
    b"ftyphei": "HEIC",
    b"ftyphev": "HEIC",
    b"ftypmif1": "HEIF",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"P1": "PNM",
    b"P2": "PNM",
    b"P3": "PNM",
    b"P4": "PNM",
    b"P5": "PNM",
    b"P6": "PNM",
    b"8BPS": "Photoshop",
    b"v/1\x01": "OpenEXR",
    b"%PDF": "PDF",
    b"PK\x03\x04": "a zip archive, such as .npz",
    b"\x1f\x8b": "gzip, such as .nii.gz",
    b"version https://git-lfs": "a pointer of Git LFS in place of the file: run `git lfs pull`",
}
"""First bytes of files that are not read, or the bytes from the fifth on, and what the files are."""


def format_of(stream: BinaryIO) -> Format:
    """Return the format of a file that is open at its beginning, and go back to the beginning.

    Raises:
        ValueError: the file is empty, or of another format; the message names it if it is known.
    """
    start = stream.read(32)
    stream.seek(0)
    for known in FORMATS:
        if start.startswith(known.starts):
            return known
    what = next((name for pattern, name in OTHERS.items() if start.startswith(pattern) or start.startswith(pattern, 4)), None)
    if not start:
        raise ValueError("the file is empty")
    raise ValueError(f"its content is {what}; read are {READ}" if what else f"its content is none of {READ}")


READ = ", ".join(known.name for known in FORMATS)
"""The names of the formats that are read."""
