"""Every format × depth × channels × layout is read right, or refused by name.

Images first, then masks, then what is no image at all.
"""

import io
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from seglab.data.reading.formats import ENDINGS, FORMATS
from seglab.data.reading.read import read_image, read_mask
from tests.data.encoded import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, Array, Chunk, bmp, by_pillow, chunk, exif, packed, png

ROWS, COLUMNS = 21, 34
COLOURS = [(255 - i, i, (7 * i) % 256) for i in range(256)]
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "data.md"


def drawn(dtype: str, channels: int = 1, below: int | None = None) -> Array:
    """Return (H,W) for one channel, else (H,W,C)."""
    rng, kind = np.random.default_rng(channels), np.dtype(dtype)
    shape = (ROWS, COLUMNS) if channels == 1 else (ROWS, COLUMNS, channels)
    if kind.kind == "f":
        return rng.random(shape).astype(kind)
    return rng.integers(0, np.iinfo(kind).max if below is None else below - 1, shape, endpoint=True).astype(kind)


def of(content: bytes, read: Callable[[Path], Array], folder: Path) -> Array:
    file = folder / "x.png"  # the ending says nothing
    file.write_bytes(content)
    return read(file)


def tiff(values: Array, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **{"metadata": None, "photometric": "minisblack", **options})
    return file.getvalue()


def equal(found: Array, expected: Array) -> None:
    assert found.dtype == expected.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, expected)


def refused(content: bytes, read: Callable[[Path], Array], folder: Path) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        of(content, read, folder)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'x.png'}: ")
    assert "\n" not in message
    return message.removeprefix(f"{folder / 'x.png'}: ")


# Images

PNGS = [
    (depth, colour, interlaced)
    for depth, colour, interlaced in product((1, 2, 4, 8, 16), (GREY, RGB, PALETTE, GREY_ALPHA, RGBA), (False, True))
    if not (colour in (RGB, GREY_ALPHA, RGBA) and depth < 8) and not (colour == PALETTE and depth == 16)
]
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
PLAIN: dict[str, Callable[[int], list[Chunk]]] = {
    "nothing": lambda colour: [],
    "a gamma": lambda colour: [(b"gAMA", struct.pack(">I", 90909))],
    "an unknown profile": lambda colour: [(b"iCCP", b"none\0\0broken")],
    "transparency": lambda colour: (
        [(b"tRNS", {GREY: b"\0\1", RGB: b"\0\1\0\2\0\3", PALETTE: b"\0\x80"}[colour])] if colour in (GREY, RGB, PALETTE) else []
    ),
}


def a_png(depth: int, colour: int, interlaced: bool, beside: str) -> tuple[bytes, Array]:
    """Return a PNG and its values as stored."""
    values = drawn("uint16", CHANNELS[colour], below=2**depth)
    palette = [(b"PLTE", bytes(np.array(COLOURS[: 2**depth], np.uint8).tobytes()))] if colour == PALETTE else []
    extra = PLAIN[beside](colour)
    chunks = [*palette, *extra] if beside == "transparency" else [*extra, *palette]
    return png(values, depth, colour, interlaced, chunks), values


@pytest.mark.parametrize("beside", PLAIN)
@pytest.mark.parametrize(("depth", "colour", "interlaced"), PNGS)
def test_png_images(depth: int, colour: int, interlaced: bool, beside: str, tmp_path: Path) -> None:
    content, values = a_png(depth, colour, interlaced, beside)
    if colour == PALETTE:
        expected = np.array(COLOURS, np.uint8)[values]
    elif depth == 16:
        expected = values[..., :3] if colour in (RGB, RGBA) else values[..., :1] if values.ndim == 3 else values[..., None]
    else:
        full = (values * (255 // (2**depth - 1))).astype(np.uint8)
        expected = full[..., None] if full.ndim == 2 else full[..., : 1 if colour == GREY_ALPHA else 3]
    equal(of(content, read_image, tmp_path), expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6])
def test_tiff_images_keep_every_channel_in_any_layout(dtype: str, channels: int, tmp_path: Path) -> None:
    values = drawn(dtype, channels)
    expected = values[..., None] if channels == 1 else values
    expected = expected.astype(np.float32) if values.dtype.kind == "f" else expected
    for order, planes, tile, big in product("<>", ("contig", "separate"), (None, (16, 16)), (False, True)):
        given = np.moveaxis(values, -1, 0) if channels > 1 and planes == "separate" else values
        layout = {"planarconfig": planes} if channels > 1 else {}
        content = tiff(np.ascontiguousarray(given), byteorder=order, tile=tile, bigtiff=big, **layout)
        equal(of(content, read_image, tmp_path), expected)


@pytest.mark.parametrize("compression", ["lzw", "deflate", "adobe_deflate", "packbits", "lzma", "zstd", "png"])
@pytest.mark.parametrize("predictor", [False, True])
def test_compressions_of_tiff_that_lose_nothing(compression: str, predictor: bool, tmp_path: Path) -> None:
    if compression == "png" and predictor:
        pytest.skip("PNG has predictors of its own")
    for dtype, tile in product(("uint8", "uint16"), (None, (16, 16))):
        values, labels = drawn(dtype, 3), drawn(dtype)
        options = {"compression": compression, "predictor": predictor, "tile": tile}
        equal(of(tiff(values, photometric="rgb", **options), read_image, tmp_path), values)
        equal(of(tiff(labels, **options), read_mask, tmp_path), labels)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group3", "group4", "lzma", "zstd"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "F", "I;16"])
def test_tiffs_that_pillow_writes_are_what_pillow_reads(mode: str, compression: str, tmp_path: Path) -> None:
    image = Image.fromarray(drawn("uint16")) if mode == "I;16" else Image.fromarray(drawn("uint8", 3)).convert(mode)
    try:
        content = by_pillow(image, "TIFF", compression=compression)
    except OSError:
        pytest.skip("no such combination")
    if mode == "YCbCr" and compression != "jpeg":
        assert "a TIFF of YCBCR with uint8, which is not read: convert it to RGB or grey" in refused(content, read_image, tmp_path)
        return
    with Image.open(io.BytesIO(content)) as again:
        expected = np.array(again if mode in ("F", "I;16") else again.convert("L" if mode in ("1", "L", "LA") else "RGB"))
    equal(of(content, read_image, tmp_path), expected[..., None] if expected.ndim == 2 else expected)


def test_sixteen_bit_colours_of_opencv(tmp_path: Path) -> None:
    colours = drawn("uint16", 3)
    for ending in (".png", ".tiff"):
        equal(of(cv2.imencode(ending, colours[..., ::-1])[1].tobytes(), read_image, tmp_path), colours)


@pytest.mark.parametrize(
    ("extra", "kept"), [((), 3), (("unassalpha",), 3), (("assocalpha",), 3), (("unspecified",), 4), (("unassalpha", "unspecified"), 4)]
)
def test_only_what_a_tiff_calls_alpha_is_dropped(extra: tuple[str, ...], kept: int, tmp_path: Path) -> None:
    values = drawn("uint8", 3 + len(extra))
    expected = values[..., [0, 1, 2, 4]] if len(extra) == 2 else values[..., :kept]
    options = {"extrasamples": extra} if extra else {}
    equal(of(tiff(values, photometric="rgb", planarconfig="contig", **options), read_image, tmp_path), expected)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("kind", [tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE])
def test_tiff_images_of_few_bits_are_scaled_as_those_of_png(bits: int, kind: int, tmp_path: Path) -> None:
    values = drawn("uint8", below=2**bits)
    full = (values * (255 // (2**bits - 1))).astype(np.uint8)
    expected = full if kind == tifffile.PHOTOMETRIC.MINISBLACK else 255 - full
    equal(of(few_bits(values, bits, kind), read_image, tmp_path), expected[..., None])


def few_bits(values: Array, bits: int, kind: int) -> bytes:
    """Return a TIFF of one strip, written by hand."""
    data = b"".join(packed(row, bits) for row in values)
    rows, columns = values.shape
    short = {256: columns, 257: rows, 258: bits, 259: 1, 262: kind, 277: 1, 278: rows}
    entries = [(tag, 3, value) for tag, value in short.items()] + [(273, 4, 8), (279, 4, len(data))]
    table = b"".join(struct.pack("<HHI", tag, form, 1) + struct.pack("<I", value) for tag, form, value in sorted(entries))
    start = 8 + len(data) + len(data) % 2
    return b"II*\0" + struct.pack("<I", start) + data + bytes(len(data) % 2) + struct.pack("<H", len(entries)) + table + bytes(4)


def test_min_is_white_of_more_bits_is_inverted(tmp_path: Path) -> None:
    for dtype in ("uint8", "uint16"):
        values = drawn(dtype)
        equal(of(tiff(values, photometric="miniswhite"), read_image, tmp_path), np.iinfo(dtype).max - values[..., None])


@pytest.mark.parametrize("depth", [8, 16])
def test_palettes_of_tiff_are_colours_whether_they_fill_8_or_16_bits(depth: int, tmp_path: Path) -> None:
    table = np.array(COLOURS, np.uint16).T * (257 if depth == 16 else 1)
    values = drawn("uint8")
    content = tiff(values, photometric="palette", colormap=table)
    equal(of(content, read_image, tmp_path), np.array(COLOURS, np.uint8)[values])
    equal(of(content, read_mask, tmp_path), values)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_photographs_are_what_pillow_reads(kind: str, mode: str, tmp_path: Path) -> None:
    if (kind, mode) == ("WEBP", "CMYK"):
        pytest.skip("WebP has no CMYK")
    content = by_pillow(Image.fromarray(drawn("uint8", 3)).convert(mode), kind)
    with Image.open(io.BytesIO(content)) as again:
        expected = np.array(again.convert("L" if again.mode == "L" else "RGB"))
    equal(of(content, read_image, tmp_path), expected[..., None] if expected.ndim == 2 else expected)


def test_the_first_picture_of_a_telephones_jpeg_is_the_photograph(tmp_path: Path) -> None:
    first, second = Image.fromarray(drawn("uint8", 3)), Image.new("RGB", (9, 9))
    content = by_pillow(first, "MPO", save_all=True, append_images=[second])
    equal(of(content, read_image, tmp_path), np.array(Image.open(io.BytesIO(by_pillow(first, "JPEG")))))


ARRAYS = [
    (dtype, order, channels) for dtype in ("?", "u1", "<u2", ">u2", "<f2", ">f4", "<f4", ">f8") for order in "CF" for channels in (1, 7)
]


@pytest.mark.parametrize(("dtype", "order", "channels"), ARRAYS)
def test_arrays_of_any_order_are_images(dtype: str, order: str, channels: int, tmp_path: Path) -> None:
    shape = (ROWS, COLUMNS) if channels == 1 else (ROWS, COLUMNS, channels)
    values = (np.random.default_rng(0).random(shape) * (1 if "f" in dtype else 200)).astype(dtype)
    values = np.asfortranarray(values) if order == "F" else values
    file = io.BytesIO()
    np.save(file, values)
    expected = values * np.uint8(255) if dtype == "?" else values.astype({"f": "f4"}.get(values.dtype.kind, values.dtype.newbyteorder("=")))
    equal(of(file.getvalue(), read_image, tmp_path), expected[..., None] if channels == 1 else expected)


# Orientation

TURNED = {"PNG": "PNG", "JPEG": "JPEG", "WEBP": "WEBP", "TIFF": "TIFF"}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", TURNED)
def test_images_are_turned_as_their_flag_says(kind: str, orientation: int, tmp_path: Path) -> None:
    image = Image.fromarray(drawn("uint8", 3))
    metadata = Image.Exif()
    metadata[0x0112] = orientation
    content = by_pillow(image, kind, exif=metadata)
    with Image.open(io.BytesIO(content)) as again:
        expected = np.array(ImageOps.exif_transpose(again))
    assert expected.shape[:2] == ((ROWS, COLUMNS) if orientation < 5 else (COLUMNS, ROWS))
    equal(of(content, read_image, tmp_path), expected)


def before_the_pixels(content: bytes, orientation: int) -> bytes:
    """Put an orientation flag after the header of a PNG."""
    return content[:33] + chunk(b"eXIf", exif(orientation)) + content[33:]


def after_the_pixels(content: bytes, orientation: int) -> bytes:
    """Put an orientation flag before the end of a PNG, where the specification allows it too."""
    return content[:-12] + chunk(b"eXIf", exif(orientation)) + content[-12:]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_and_images_of_every_depth_are_turned_alike(orientation: int, tmp_path: Path) -> None:
    """The top left corner of what is shown is where the flag says that it is."""
    shown = np.arange(6, dtype=np.uint8).reshape(2, 3)
    stored = {1: shown, 2: shown[:, ::-1], 3: shown[::-1, ::-1], 4: shown[::-1], 5: shown.T, 6: shown.T[:, ::-1][::-1, ::-1]}
    stored |= {6: np.rot90(shown, 1), 7: shown[::-1, ::-1].T, 8: np.rot90(shown, -1)}
    values = np.ascontiguousarray(stored[orientation])
    colours = np.repeat(values[..., None], 3, axis=2)
    for place in (before_the_pixels, after_the_pixels):
        for depth in (4, 8, 16):
            flagged = place(png(values, depth, GREY), orientation)
            equal(of(flagged, read_mask, tmp_path), shown.astype("u2" if depth == 16 else "u1"))
        for depth in (8, 16):
            flagged = place(png(colours, depth, RGB), orientation)
            equal(of(flagged, read_image, tmp_path), np.repeat(shown[..., None], 3, axis=2).astype("u2" if depth == 16 else "u1"))
    turned = tiff(values, extratags=[(274, 3, 1, orientation, True)])
    equal(of(turned, read_mask, tmp_path), shown)
    equal(of(turned, read_image, tmp_path), shown[..., None])


@pytest.mark.parametrize(
    "broken", [b"Exif\0\0", b"Exif\0\0II", b"Exif\0\0XX*\0\0\0\0\0", b"Exif\0\0" + exif(6)[:-6], b"Exif\0\0" + exif(9)]
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_good_pixels_with_broken_metadata_are_read(broken: bytes, tmp_path: Path) -> None:
    photograph = Image.fromarray(drawn("uint8", 3))
    content = by_pillow(photograph, "JPEG", exif=broken)
    equal(of(content, read_image, tmp_path), np.array(Image.open(io.BytesIO(by_pillow(photograph, "JPEG")))))


# Masks


@pytest.mark.parametrize("beside", PLAIN)
@pytest.mark.parametrize(("depth", "colour", "interlaced"), PNGS)
def test_png_masks_hold_the_indices_of_the_file(depth: int, colour: int, interlaced: bool, beside: str, tmp_path: Path) -> None:
    content, values = a_png(depth, colour, interlaced, beside)
    if colour in (GREY, PALETTE):
        equal(of(content, read_mask, tmp_path), values.astype("u2" if depth == 16 else "u1"))
    else:
        assert "expected one, of class indices: convert colours to indices" in refused(content, read_mask, tmp_path)


@pytest.mark.parametrize("dtype", ["?", "<u1", "<i1", "<u2", ">u2", "<i2", ">i2", "<u4", "<i4", ">i8", "<u8", "<f4", ">f8"])
def test_masks_are_integers_of_any_width(dtype: str, tmp_path: Path) -> None:
    values = drawn("uint8", below=2 if dtype == "?" else 100).astype(dtype)
    if np.dtype(dtype).kind == "i":
        values[0] = -1
    expected = values.astype({"?": "u1", "<f4": "i8", ">f8": "i8"}.get(dtype, values.dtype.newbyteorder("=")))
    for given in (values, np.asfortranarray(values), values[..., None]):
        file = io.BytesIO()
        np.save(file, given)
        equal(of(file.getvalue(), read_mask, tmp_path), expected)
    if dtype not in ("?", ">i8", "<u8"):
        equal(of(tiff(values, byteorder=dtype[0]), read_mask, tmp_path), expected)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_tiff_masks_of_few_bits_hold_the_indices_of_the_file(bits: int, tmp_path: Path) -> None:
    values = drawn("uint8", below=2**bits)
    equal(of(few_bits(values, bits, tifffile.PHOTOMETRIC.MINISBLACK), read_mask, tmp_path), values)
    assert "a mask whose 0 is white" in refused(few_bits(values, bits, tifffile.PHOTOMETRIC.MINISWHITE), read_mask, tmp_path)


GREYS = [(value, value, value) for value in range(256)]


@pytest.mark.parametrize(
    ("bits", "palette", "is_read"),
    [
        (1, COLOURS[:2], True),
        (1, [(0, 0, 0), (255, 255, 255)], True),
        (1, [(255, 255, 255), (0, 0, 0)], True),
        (4, COLOURS[:16], True),
        (8, COLOURS, True),
        (8, GREYS, True),
        (8, GREYS[:40], True),
        (4, GREYS[:16], False),
        (4, GREYS[:2], True),
        (4, [(0, 0, 0), (255, 255, 255)], False),
        (8, [(0, 0, 0), (255, 255, 255)], False),
    ],
)
def test_palettes_of_bmp_are_read_or_refused(bits: int, palette: list[tuple[int, int, int]], is_read: bool, tmp_path: Path) -> None:
    values = drawn("uint8", below=len(palette))
    content = bmp(values, bits, palette)
    if is_read:
        equal(of(content, read_mask, tmp_path), values)
        found = of(content, read_image, tmp_path)
        equal(found, np.array(palette, np.uint8)[values][..., : found.shape[2]])
    else:
        for read in (read_image, read_mask):
            assert f"a BMP of {bits} bits with a short palette of greys" in refused(content, read, tmp_path)


def test_a_gif_of_one_picture_is_read(tmp_path: Path) -> None:
    values = drawn("uint8")
    image = Image.fromarray(values)
    image.putpalette(np.array(COLOURS, np.uint8).tobytes())
    for interlace in (0, 1):
        content = by_pillow(image, "GIF", interlace=interlace, optimize=False)
        equal(of(content, read_mask, tmp_path), values)
        equal(of(content, read_image, tmp_path), np.array(COLOURS, np.uint8)[values])
    small = content[:6] + struct.pack("<HH", COLUMNS + 5, ROWS + 5) + content[10:]
    assert "a GIF whose picture covers a part of its area only" in refused(small, read_mask, tmp_path)


def of_frames(kind: str) -> bytes:
    frames = [Image.fromarray(drawn("uint8", channels)) for channels in (3, 4)]
    return by_pillow(frames[0], kind, save_all=True, append_images=[frame.convert("RGB") for frame in frames[1:]])


def stack(**options: Any) -> bytes:
    return tiff(drawn("uint8", ROWS), **options)


def long(rows: int, columns: int) -> bytes:
    """Return the header of a PNG of many pixels."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)) + chunk(b"IDAT", b"") * 2


def array(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(values))
    return file.getvalue()


def an_avif() -> bytes:
    """The content of an AVIF; Pillow writes them from version 11.3 on."""
    Image.init()
    if "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow writes no AVIF")
    return by_pillow(Image.new("RGB", (9, 9)), "AVIF")


EITHER = {
    "an animated GIF": (lambda: of_frames("GIF"), "an animated GIF of 2 frames; expected one picture"),
    "an animated PNG": (lambda: of_frames("PNG"), "an animated PNG of 2 frames; expected one picture"),
    "pages": (stack, f"a TIFF of {ROWS} pages; expected one: save each as a file, or the channels with planarconfig='contig'"),
    "a stack of ImageJ": (lambda: stack(imagej=True), f"a TIFF of {ROWS} pages; expected one"),
    "a volume": (lambda: stack(volumetric=True), "a TIFF of a volume or a stack; expected one picture"),
    "a cut-off TIFF": (lambda: tiff(drawn("uint8"))[:-300], "cannot be read as"),
    "a cut-off compressed TIFF": (lambda: tiff(drawn("uint8"), compression="lzw")[:-300], "cannot be read as"),
    "a cut-off PNG": (lambda: png(drawn("uint8"), 8, GREY)[:-300], "cannot be read as"),
    "the first bytes of a PNG": (lambda: png(drawn("uint8"), 8, GREY)[:20], "(the file is cut off)"),
    "the first bytes of a BMP": (lambda: b"BM", "(the file is cut off)"),
    "another RIFF": (lambda: b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), ""),
    "a cut-off array": (lambda: array(drawn("uint8"))[:-300], "cannot be read as"),
    "too many pixels": (lambda: long(40000, 30000), "40000×30000 pixels (rows × columns); expected at most 1073741824: cut the image"),
    "no pixels": (lambda: array(np.zeros((0, 4), np.uint8)), "0×4 pixels (rows × columns); expected at least one"),
    "objects": (lambda: array([None, "a"]), "Object arrays cannot be loaded"),
    "text in an array": (lambda: array([["a", "b"]]), "of str32; expected"),
    "complex numbers": (lambda: array([[1j]]), "of complex128; expected"),
    "a row": (lambda: array([1, 2]), "of the shape (2,)"),
    "four axes": (lambda: array(np.zeros((1, 2, 3, 4), np.uint8)), "of the shape (1, 2, 3, 4)"),
    "an empty file": (lambda: b"", "the file is empty"),
    "text": (lambda: b"hello", "its content is none of PNG, JPEG, TIFF, BMP, GIF, WebP, NumPy"),
    "a pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS in place of the file"),
    "JPEG 2000": (lambda: by_pillow(Image.new("L", (9, 9)), "JPEG2000"), "its content is JPEG 2000; read are PNG"),
    "AVIF": (an_avif, "its content is AVIF; read are PNG"),
    "PNM": (lambda: by_pillow(Image.new("RGB", (9, 9)), "PPM"), "its content is PNM; read are PNG"),
}  # fmt: skip
ONLY_IMAGES = {
    "12 bits": (lambda: few_bits(drawn("uint8", below=2), 1, 1).replace(b"\x02\x01\x03\0\1\0\0\0\1", b"\x02\x01\x03\0\1\0\0\0\x0c"), "12 bits"),
    "int16": (lambda: tiff(drawn("int16")), "an image of int16; expected uint8, uint16, or float32 from 0 to 1: convert it"),
    "uint32": (lambda: array(drawn("uint32")), "an image of uint32; expected uint8, uint16, or float32 from 0 to 1: convert it"),
    "a TIFF of uint32": (lambda: tiff(drawn("uint32")), "32 bits per channel; expected 8 or 16 bits, or floats"),
    "LAB": (lambda: by_pillow(Image.new("LAB", (9, 9)), "TIFF"), "a TIFF of CIELAB with uint8, which is not read: convert it to RGB or grey"),
}  # fmt: skip
ONLY_MASKS = {
    "JPEG": (lambda: by_pillow(Image.fromarray(drawn("uint8")), "JPEG", quality=100), "a mask as JPEG; JPEG is lossy and changes labels"),
    "a telephone's JPEG": (lambda: of_frames("MPO"), "a mask as JPEG; JPEG is lossy"),
    "WebP": (lambda: by_pillow(Image.fromarray(drawn("uint8")), "WEBP"), "a mask as WebP; WebP holds colours and no indices"),
    "lossless WebP": (lambda: by_pillow(Image.fromarray(drawn("uint8")), "WEBP", lossless=True), "a mask as WebP"),
    "JPEG in TIFF": (lambda: tiff(drawn("uint8"), compression="jpeg"), "a mask compressed by JPEG, which can change labels"),
    "JPEG 2000 in TIFF": (lambda: tiff(drawn("uint8"), compression="jpeg2000"), "a mask compressed by JPEG2000, which can change labels"),
    "LERC in TIFF": (lambda: tiff(drawn("uint8"), compression="lerc"), "a mask compressed by LERC, which can change labels"),
    "min is white": (lambda: tiff(drawn("uint8"), photometric="miniswhite"), "a mask whose 0 is white (MINISWHITE)"),
    "bands": (lambda: tiff(drawn("uint8", 5), planarconfig="contig"), "a mask of 5 channels; expected one, of class indices"),
    "CMYK": (lambda: by_pillow(Image.new("CMYK", (9, 9)), "TIFF"), "a mask of 4 channels"),
    "halves": (lambda: array([[0.5, 1.0]]), "a mask of float64 with values that are no integers"),
    "not a number": (lambda: array([[np.nan, 1.0]]), "a mask of float64 with values that are no integers"),
    "infinity": (lambda: array([[np.inf, 1.0]]), "a mask of float64 with values that are no integers"),
}  # fmt: skip
REFUSALS = [
    *((name, *case, read) for name, case in EITHER.items() for read in (read_image, read_mask)),
    *((name, *case, read_image) for name, case in ONLY_IMAGES.items()),
    *((name, *case, read_mask) for name, case in ONLY_MASKS.items()),
]


@pytest.mark.parametrize(
    ("content", "message", "read"), [case[1:] for case in REFUSALS], ids=[f"{case[0]}-{case[3].__name__}" for case in REFUSALS]
)
def test_what_cannot_be_read_right_is_refused_by_name(
    content: Callable[[], bytes], message: str, read: Callable[[Path], Array], tmp_path: Path
) -> None:
    assert message in refused(content(), read, tmp_path)


def test_an_animated_webp_is_no_image(tmp_path: Path) -> None:
    assert "an animated WEBP of 2 frames" in refused(of_frames("WEBP"), read_image, tmp_path)


def test_smaller_copies_in_a_tiff_are_left_out(tmp_path: Path) -> None:
    """Read a file with overviews, as a cloud-optimised GeoTIFF has them."""
    values, file = drawn("uint16", 4), io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(values, photometric="minisblack", planarconfig="contig", metadata=None)
        writer.write(values[::2, ::2], photometric="minisblack", planarconfig="contig", subfiletype=1, metadata=None)
        writer.write(values[..., 0] > 0, photometric="mask", subfiletype=4, metadata=None)
    equal(of(file.getvalue(), read_image, tmp_path), values)


@pytest.mark.slow
def test_a_large_image_is_read(tmp_path: Path) -> None:
    """Pillow by itself refuses more than 179 million pixels."""
    values = np.zeros((13500, 13500), np.uint8)
    values[-1, -1] = 1
    (tmp_path / "large.png").write_bytes(by_pillow(Image.fromarray(values), "PNG", compress_level=1))
    assert (read_mask(tmp_path / "large.png") == values).all()


@pytest.mark.parametrize("name", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"])
def test_the_message_of_a_cut_off_file_names_no_object_in_memory(name: str, tmp_path: Path) -> None:
    content = by_pillow(Image.fromarray(drawn("uint8")), name)
    file = tmp_path / "0.png"
    reasons = set()
    for length in (12, 16, 20, 30, len(content) // 2):
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match=f"{re.escape(str(file))}: ") as raised:
            read_image(file)
        assert "0x" not in str(raised.value)
        reasons.add(str(raised.value).partition("read as an image ")[2])
    if name in ("JPEG", "GIF", "WEBP"):
        assert "(its content is damaged): replace the file, or remove it with its mask" in reasons


# What is no file


@pytest.fixture
def anybody() -> Iterator[Callable[[], None]]:
    """Give a function that drops the superuser's rights, who may read everything, until the test ends."""
    own = os.geteuid()
    yield lambda: None if own else os.seteuid(65534)
    os.seteuid(own)


def loop(file: Path) -> None:
    file.symlink_to(file)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Path.mkdir, "is a folder; expected a file"),
        (os.mkfifo, "is a device or pipe; expected a file"),
        (loop, "(Too many levels of symbolic links)"),
        (Path.exists, "(No such file or directory)"),
    ],
)
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_what_is_no_file_is_named(make: Callable[[Path], Any], message: str, read: Callable[[Path], Array], tmp_path: Path) -> None:
    make(tmp_path / "0.png")
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read(tmp_path / "0.png")
    assert str(caught.value).startswith(f"{tmp_path / '0.png'}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, anybody: Callable[[], None]) -> None:
    file = tmp_path / "0.png"
    file.write_bytes(png(drawn("uint8"), 8, GREY))
    file.chmod(0)
    anybody()
    for read, what in ((read_image, "an image"), (read_mask, "a mask")):
        with pytest.raises(ValueError, match=re.escape(f"{file}: cannot be read as {what} (Permission denied): ")):
            read(file)


@pytest.mark.slow
def test_nothing_is_printed_about_a_damaged_tiff(tmp_path: Path) -> None:
    (tmp_path / "0.tif").write_bytes(tiff(drawn("uint8"), compression="lzw")[:-300])
    code = f"from seglab.data.reading.read import read_image\ntry: read_image(__import__('pathlib').Path({str(tmp_path / '0.tif')!r}))\nexcept ValueError: pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_the_page_lists_the_formats() -> None:
    rows = re.findall(r"^\| (\w+) \| (.*?) \|", PAGE.read_text(), flags=re.MULTILINE)
    table = {name: tuple(re.findall(r"`(\.\w+)`", endings)) for name, endings in rows if "`." in endings}
    assert table == {known.name: known.endings for known in FORMATS}
    assert len(ENDINGS) == sum(map(len, table.values()))
