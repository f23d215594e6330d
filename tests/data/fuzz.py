"""Read damaged files, and fail if any of them is neither read nor refused in one line.

Run it by python -m tests.data.fuzz SEED COUNT FOLDER.
"""

import io
import json
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from seglab.data.reading.read import read_image, read_mask
from tests.data.encoded import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, Array, by_pillow, exif, png

MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F", "LAB", "HSV", "PA", "La", "RGBa", "RGBX"]
KINDS = [
    "PNG",
    "JPEG",
    "TIFF",
    "BMP",
    "GIF",
    "WEBP",
    "JPEG2000",
    "PPM",
    "TGA",
    "ICO",
    "PCX",
    "AVIF",
    "DDS",
    "ICNS",
    "IM",
    "MSP",
    "PDF",
    "SGI",
    "SPIDER",
    "XBM",
    "MPO",
]
SECONDS = 20.0
"""No file of a few kilobytes takes longer, on the slowest machine."""


def whole() -> Iterator[bytes]:
    """Give one file of every format and mode that Pillow writes, and more of the formats that are read."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (23, 31, 3), dtype=np.uint8)
    for mode in MODES:
        try:
            image = Image.fromarray(colours).convert(mode)
        except ValueError:
            image = Image.new(mode, (31, 23))
        for kind in KINDS:
            yield from tried(partial(by_pillow, image, kind))
        for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4", "lzma", "zstd"):
            yield from tried(partial(by_pillow, image, "TIFF", compression=compression))
    for dtype in ("u1", ">u2", "f4", "i2", "<u4"):
        for channels in (2, 3, 6):
            for options in ({}, {"tile": (16, 16), "compression": "lzw"}, {"bigtiff": True}):
                file = io.BytesIO()
                pixels = rng.integers(0, 255, (23, 31, channels)).astype(dtype)
                tifffile.imwrite(file, pixels, photometric="minisblack", planarconfig="contig", **options)
                yield file.getvalue()
    for colour, channels in ((GREY, 1), (RGB, 3), (PALETTE, 1), (GREY_ALPHA, 2), (RGBA, 4)):
        for depth in (1, 2, 4, 8, 16):
            palette = [(b"PLTE", bytes(range(256)) * 3)] if colour == PALETTE else []
            yield png(rng.integers(0, 2**depth, (23, 31, channels)), depth, colour, interlaced=True, chunks=palette)
    for dtype in ("u1", ">u2", "f4", "?", "c8"):
        file = io.BytesIO()
        np.save(file, rng.integers(0, 2, (23, 31)).astype(dtype))
        yield file.getvalue()


def tried(write: Callable[[], bytes]) -> Iterator[bytes]:
    """Give what `write` gives, unless the format has no such mode."""
    try:
        yield write()
    except (OSError, ValueError, KeyError, SystemError, RuntimeError):
        return


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Cut a file off, change some of its bytes, or take some out or put some in.

    Or give a picture with damaged metadata.
    """
    found = bytearray(content)
    match rng.choice(["cut", "flip", "flip", "header", "shift", "metadata", "nothing"]):
        case "cut":
            del found[rng.randrange(len(found)) :]
        case "flip":
            for _ in range(rng.choice([1, 3, 10])):
                found[rng.randrange(len(found))] = rng.randrange(256)
        case "header":
            for _ in range(rng.choice([1, 2, 4])):
                found[rng.randrange(min(len(found), 64))] = rng.choice([0, 127, 128, 255])
        case "shift":
            place = rng.randrange(len(found))
            found[place : place + rng.randrange(20)] = bytes(rng.randrange(20))
        case "metadata":
            flag = bytearray(exif(rng.randrange(1, 9)) + bytes(rng.randrange(30)))
            for _ in range(rng.choice([0, 1, 5])):
                flag[rng.randrange(len(flag))] = rng.randrange(256)
            kind = rng.choice(["PNG", "JPEG", "WEBP"])
            return by_pillow(Image.new("RGB", (31, 23)), kind, exif=b"Exif\0\0" + bytes(flag[: rng.randrange(len(flag)) + 1]))
    return bytes(found)


def check(read: Callable[[Path], Array], file: Path) -> str:
    """Read a file. Return "read" or "refused"; raise an AssertionError if it is neither."""
    started, refusal = time.monotonic(), None
    try:
        pixels = read(file)
    except ValueError as error:
        refusal = str(error)
    assert time.monotonic() - started < SECONDS
    if refusal is not None:
        assert refusal.startswith(f"{file}: "), refusal
        assert "\n" not in refusal, refusal
        return "refused"
    assert pixels.size > 0
    assert pixels.dtype.isnative
    if read is read_image:
        assert pixels.ndim == 3
        assert pixels.dtype in (np.uint8, np.uint16, np.float32)
    else:
        assert pixels.ndim == 2
        assert pixels.dtype.kind in "iu"
    return "read"


def main(seed: int, count: int, folder: Path) -> None:
    """Print how many files were read and refused."""
    warnings.simplefilter("ignore")  # of Pillow, about metadata
    rng, files, came = random.Random(seed), list(whole()), Counter[str]()
    for number in range(count):
        file = folder / f"{number}.png"
        file.write_bytes(damaged(rng.choice(files), rng))
        for read in (read_image, read_mask):
            came[check(read, file)] += 1
        file.unlink()  # the file that ends this process stays
    print(json.dumps(came))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
