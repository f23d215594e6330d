"""The limits of docs/howto/audit.md on CamVid: good data pass, and wrong data are found.

The tests need CamVid beside the project.
"""

import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

import seglab
from seglab.data import SPLITS, CamVid, Pair, PairedFiles
from seglab.data.arrays import Array
from seglab.data.audit.audit import audit
from seglab.data.audit.finding import Audited
from seglab.data.audit.findings.duplicates import MOST_BITS, MOST_DIFFERENCE, difference
from seglab.data.audit.look import _image
from seglab.data.audit.source import audited_source
from tests.data.audited import found

REAL = Path(seglab.__file__).parents[2] / "shared" / "data" / "camvid"
real = pytest.mark.skipif(not REAL.is_dir(), reason="needs CamVid beside the project")


def jpeg(quality: int) -> Callable[[Image.Image], Image.Image]:
    def encoded(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        return Image.open(stream)

    return encoded


def scaled(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


COPIES: dict[str, tuple[Callable[[Image.Image], Image.Image], bool]] = {
    "JPEG 80": (jpeg(80), True),
    "JPEG 50": (jpeg(50), True),
    "half": (scaled(0.5), True),
    "third": (scaled(1 / 3), True),
    "brighter": (lambda image: ImageEnhance.Brightness(image).enhance(1.05), True),
    "darker": (lambda image: ImageEnhance.Brightness(image).enhance(0.95), True),
    "contrast": (lambda image: ImageEnhance.Contrast(image).enhance(1.1), True),
    "mirrored": (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), False),
}


def pixels(image: Image.Image) -> Array:
    return np.array(image.convert("RGB"))


@real
@pytest.mark.parametrize("copy", COPIES)
def test_copies_of_frames_are_nearly_equal(copy: str) -> None:
    change, expected = COPIES[copy]
    for file in sorted((REAL / "test" / "images").iterdir())[::40]:
        with Image.open(file) as image:
            one, other = _image(pixels(image)), _image(pixels(change(image)))
        near = (one.perceptual ^ other.perceptual).bit_count() <= MOST_BITS and difference(one, other) <= MOST_DIFFERENCE
        assert near == expected, file


@real
@pytest.mark.slow
def test_camvid_has_one_note_and_shifted_masks_are_found() -> None:
    source = CamVid(REAL)
    report = audit(audited_source({split: source.split(split) for split in SPLITS}, source.class_names))
    assert found(report) == [("note", "nearly equal images in one split")]
    assert len(report.findings[0].files) < 40


@real
@pytest.mark.slow
def test_masks_of_camvid_that_are_shifted_by_one_are_found() -> None:
    whole = CamVid(REAL).split("val")
    assert isinstance(whole, PairedFiles)
    pairs = [Pair(one.image, other.mask) for one, other in itertools.pairwise(whole.pairs)]
    audited = Audited({"val": PairedFiles(REAL, pairs, whole.class_names, whole.void)}, None, {}, {})
    (finding,) = [finding for finding in audit(audited).findings if finding.severity == "error"]
    assert finding.title == "masks are shifted by one"
    assert "masks of val fit the image after it" in finding.what
