"""OpenCV decodes plain PNGs and JPEGs to the same pixels as Pillow, and a truncated file is not plain."""

import io
import itertools
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from seglab.data.loading.loader import collate
from seglab.data.reading.plain import Plain, decode, plain
from seglab.data.reading.read import read_image
from seglab.sample import Sample
from tests.data.encoded import Array

SIZES = [(1, 1), (7, 9), (33, 50), (97, 131)]


def photograph(size: tuple[int, int], channels: int) -> Image.Image:
    """Smooth noise of the full range, so that every coefficient of a JPEG occurs."""
    noise = np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), dtype=np.uint8)
    pixels = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.2), None, 0, 255, cv2.NORM_MINMAX)  # type: ignore[call-overload]
    return Image.fromarray(pixels if channels == 3 else pixels[..., 0].copy())


def encoded(picture: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def by_pillow(content: bytes) -> Array:
    return np.array(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("quality", [1, 30, 75, 95, 100])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("channels", [1, 3])
def test_plain_jpegs_have_the_pixels_of_pillow(quality: int, subsampling: str, channels: int) -> None:
    for size, restart, optimize in itertools.product(SIZES, (0, 1), (False, True)):
        options = {"quality": quality, "subsampling": subsampling, "restart_marker_rows": restart, "optimize": optimize}
        content = encoded(photograph(size, channels), "JPEG", options)
        assert plain(content) == Plain(grey=channels == 1, bare=True)
        np.testing.assert_array_equal(decode(content, grey=channels == 1), by_pillow(content))


@pytest.mark.parametrize(
    "factor",
    [cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422],
)
def test_rare_subsamplings_have_the_pixels_of_pillow(factor: int) -> None:
    for size in SIZES:
        content = cv2.imencode(".jpg", np.array(photograph(size, 3)), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor])[1].tobytes()
        assert plain(content) == Plain(grey=False, bare=True)
        np.testing.assert_array_equal(decode(content, grey=False), by_pillow(content))


@pytest.mark.parametrize("channels", [1, 3])
def test_plain_pngs_have_the_pixels_of_pillow(channels: int) -> None:
    for size in SIZES:
        content = encoded(photograph(size, channels), "PNG", {})
        assert plain(content) == Plain(grey=channels == 1, bare=True)
        np.testing.assert_array_equal(decode(content, grey=channels == 1), by_pillow(content))


def test_metadata_that_may_hold_the_orientation_is_no_bare_file() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG"):
        assert plain(encoded(photograph((33, 50), 3), kind, {"exif": exif})) == Plain(grey=False, bare=False)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "I;16"])
def test_other_pngs_are_left_to_pillow(mode: str) -> None:
    picture = Image.fromarray(np.zeros((5, 4), np.uint16)) if mode == "I;16" else photograph((33, 50), 3).convert(mode)
    assert plain(encoded(picture, "PNG", {})) is None


def test_other_jpegs_are_left_to_pillow() -> None:
    assert plain(encoded(photograph((33, 50), 3), "JPEG", {"progressive": True})) is None
    assert plain(encoded(photograph((33, 50), 3).convert("CMYK"), "JPEG", {})) is None
    assert plain(encoded(photograph((33, 50), 3), "JPEG", {}) + b"more") is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_file_that_is_cut_off_is_never_plain(kind: str, tmp_path: Path) -> None:
    content = encoded(photograph((33, 50), 3), kind, {"restart_marker_rows": 1} if kind == "JPEG" else {})
    assert all(plain(content[:length]) is None for length in range(len(content)))
    file = tmp_path / f"cut.{kind.lower()}"
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"cut\.(jpeg|png): cannot be read as an image .*truncated"):
        read_image(file)


def test_a_jpeg_with_a_marker_among_its_codes_is_not_plain() -> None:
    content = encoded(photograph((33, 50), 3), "JPEG", {})
    middle = (content.index(b"\xff\xda") + len(content)) // 2
    for marker in (0xC4, 0xD8, 0xD9, 0xDA, 0xE1, 0xFF):
        assert plain(content[:middle] + bytes([0x00, 0xFF, marker, 0x00]) + content[middle:]) is None


def test_a_png_with_a_wrong_checksum_or_too_few_values_is_not_decoded() -> None:
    content = encoded(photograph((33, 50), 3), "PNG", {})
    place = content.index(b"IDAT") + 50
    assert plain(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]) is None
    codes = zlib.compress(bytes(1 + 3 * 50) * 20)  # 20 of 33 rows
    chunk = struct.pack(">I", len(codes)) + b"IDAT" + codes + struct.pack(">I", zlib.crc32(b"IDAT" + codes))
    short = content[:33] + chunk + content[-12:]
    assert plain(short) is not None
    assert decode(short, grey=False) is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_batch_is_the_stack_of_its_images(dtype: type, channels: int) -> None:
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.integers(0, 256, (20, 30, channels)).astype(dtype)).permute(2, 0, 1) for _ in range(4)]
    views = [image[:, 2:9, 3:] for image in images]
    for some in (images, views, [image.contiguous() for image in images]):
        batch = collate([Sample(image, torch.zeros(image.shape[1:], dtype=torch.uint8), "") for image in some])
        assert torch.equal(batch.image, torch.stack(some))
