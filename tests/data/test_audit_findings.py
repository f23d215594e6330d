"""Each mistake of a set of real pictures is found, named with its files, and nothing else is."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from seglab.data import SPLITS, SegmentationDataset, Shapes
from seglab.data.audit.audit import audit
from seglab.data.audit.findings.labels import explanation, voc_greys
from seglab.data.audit.source import audited_source
from seglab.data.sources.dataset import default_palette
from seglab.sample import Sample
from tests.data.audited import audit_of, found, write_shapes


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("drawn") / "data")


@pytest.fixture
def data(drawn: Path, tmp_path: Path) -> Path:
    """A copy to damage: 14 images of 48×48 in 3 classes a split."""
    return shutil.copytree(drawn, tmp_path / "data")


def masks(data: Path, split: str = "*") -> list[Path]:
    return sorted(data.glob(f"{split}/masks/*"))


def images(data: Path, split: str = "*") -> list[Path]:
    return sorted(data.glob(f"{split}/images/*"))


def each_mask(data: Path, change: Callable[[np.ndarray], np.ndarray], split: str = "*") -> None:
    for file in masks(data, split):
        with Image.open(file) as opened:
            pixels = np.array(opened)
        Image.fromarray(change(pixels)).save(file)


def test_good_data_have_no_findings(data: Path) -> None:
    assert found(audit_of(data)) == []


def black_and_white(data: Path) -> None:
    each_mask(data, lambda mask: np.where(mask > 0, 255, 0).astype(np.uint8))


def from_one(data: Path) -> None:
    each_mask(data, lambda mask: mask + np.uint8(1))


def legend(data: Path) -> None:
    each_mask(data, lambda mask: mask * np.uint8(100))


def greys(data: Path) -> None:
    grey = np.array(Image.fromarray(default_palette(21)[None]).convert("L"))[0]
    each_mask(data, lambda mask: grey[np.array([0, 7, 15])[mask]])


def one_label_more(data: Path) -> None:
    with Image.open(masks(data, "val")[2]) as opened:
        pixels = np.array(opened)
    pixels[0, 0] = 9
    Image.fromarray(pixels).save(masks(data, "val")[2])


def class_lacks_in_test(data: Path) -> None:
    each_mask(data, lambda mask: np.where(mask == 2, 0, mask).astype(np.uint8), "test")


def class_lacks_in_train(data: Path) -> None:
    each_mask(data, lambda mask: np.where(mask == 2, 0, mask).astype(np.uint8), "train")


def all_ignored(data: Path) -> None:
    each_mask(data, lambda mask: np.full_like(mask, 255), "val")


def one_ignored(data: Path) -> None:
    Image.new("L", (48, 48), 255).save(masks(data, "train")[3])


def truncated(data: Path) -> None:
    for file in images(data, "val")[:3]:
        file.write_bytes(file.read_bytes()[:200])


def no_mask_at_all(data: Path) -> None:
    masks(data, "test")[0].write_text("hello")


def other_size(data: Path) -> None:
    Image.new("L", (20, 30)).save(masks(data, "test")[5])


def colours(data: Path) -> None:
    each_mask(data, lambda mask: default_palette(3)[mask])


def opacity(data: Path) -> None:
    each_mask(data, lambda mask: np.dstack([np.zeros((*mask.shape, 3), np.uint8), mask * np.uint8(100)]))


def lossy(data: Path) -> None:
    for file in masks(data):
        with Image.open(file) as opened:
            opened.convert("L").save(file, "JPEG")


def swapped(data: Path) -> None:
    for split in SPLITS:
        (data / split / "images").rename(data / split / "other")
        (data / split / "masks").rename(data / split / "images")
        (data / split / "other").rename(data / split / "masks")


def one_grey_image(data: Path) -> None:
    with Image.open(images(data, "test")[1]) as opened:
        opened.convert("L").save(images(data, "test")[1])


def shifted(data: Path) -> None:
    files = masks(data, "train")
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, [contents[-1], *contents], strict=False):
        file.write_bytes(content)


def interpolated(data: Path) -> None:
    each_mask(data, lambda mask: cv2.resize(cv2.resize(mask * np.uint8(4), (24, 24), interpolation=cv2.INTER_LINEAR), (48, 48)))


def rung(data: Path) -> None:
    """Masks that were JPEG once, as after a conversion to PNG."""
    for file in masks(data):
        with Image.open(file) as opened:
            pixels = np.where(np.array(opened) > 0, 255, 0).astype(np.uint8)
        encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
        Image.fromarray(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE))).save(file)


def copied_to_test(data: Path) -> None:
    for kind in ("images", "masks"):
        shutil.copy(data / "train" / kind / "003.png", data / "test" / kind / "copy.png")


def copied_within(data: Path) -> None:
    for kind in ("images", "masks"):
        shutil.copy(data / "train" / kind / "003.png", data / "train" / kind / "copy.png")


def labelled_twice(data: Path) -> None:
    shutil.copy(data / "train" / "images" / "003.png", data / "train" / "images" / "copy.png")
    shutil.copy(data / "train" / "masks" / "004.png", data / "train" / "masks" / "copy.png")


def encoded_again(data: Path) -> None:
    """A picture of 160×160 in train, and the same as JPEG in val."""
    for kind, method in (("images", Image.Resampling.BICUBIC), ("masks", Image.Resampling.NEAREST)):
        file = data / "train" / kind / "003.png"
        with Image.open(file) as opened:
            large = opened.resize((160, 160), method)
        large.save(file)
        large.save(data / "val" / kind / ("copy.jpg" if kind == "images" else "copy.png"), quality=80)


def black(data: Path) -> None:
    Image.new("RGB", (48, 48)).save(images(data, "train")[2])


def twelve_bits(data: Path) -> None:
    for file in images(data):
        with Image.open(file) as opened:
            tifffile.imwrite(file, np.array(opened).astype(np.uint16) * 16, photometric="rgb")


def floats_to_255(data: Path) -> None:
    for file in images(data):
        with Image.open(file) as opened:
            tifffile.imwrite(file, np.array(opened).astype(np.float32), photometric="rgb")


def bright(data: Path) -> None:
    for file in images(data):
        with Image.open(file) as opened:
            Image.fromarray(255 - np.array(opened) // 16).save(file)


def two_sizes(data: Path) -> None:
    for kind, method in (("images", Image.Resampling.BICUBIC), ("masks", Image.Resampling.NEAREST)):
        with Image.open(data / "val" / kind / "001.png") as opened:
            opened.resize((64, 40), method).save(data / "val" / kind / "001.png")


CASES = [
    (black_and_white, 3, "error", "labels that cannot train or test", "only the class 'class 0'", 0),
    (from_one, 3, "error", "labels that start at 1", r"\{1: 0, 2: 1, 3: 2\}", 36),
    (legend, 3, "error", "labels far apart, as in a legend of grey values", r"\{0: 0, 100: 1, 200: 2\}", 42),
    (greys, 3, "error", "the colours of PASCAL VOC, read as grey", r"\{0: 0, 128: 1, 147: 2\}", 42),
    (one_label_more, 3, "error", "labels outside the classes", r"1 mask of 42 have labels that are not in 0…2; all labels: 0, 1, 2, 9", 1),
    (class_lacks_in_test, 3, "warning", "classes without a pixel", "no pixel in test: class 2", 0),
    (class_lacks_in_train, 3, "warning", "classes without a pixel", "no pixel in train: class 2", 0),
    (all_ignored, 3, "error", "labels that cannot train or test", "none of the 14 masks of val has a labelled pixel", 0),
    (one_ignored, 3, "note", "masks without a labelled pixel", "1 mask of 42", 1),
    (truncated, 3, "error", "3 samples cannot be used", "val/images/000.png: cannot be read as an image", 3),
    (no_mask_at_all, 3, "error", "1 sample cannot be used", "test/masks/000.png: cannot be read as a mask", 1),
    (other_size, 3, "error", "1 sample cannot be used", "test/masks/005.png: the mask has 30×20 pixels", 1),
    (colours, 3, "error", "masks of colours", "42 of 42 masks hold colours", 42),
    (opacity, 3, "error", "masks in the alpha channel", "42 of 42 masks have one colour", 42),
    (lossy, 3, "error", "masks in a lossy format", "42 of 42 masks are JPEG or WebP", 42),
    (swapped, 3, "error", "images and masks are swapped", "exchange the folders", 42),
    (one_grey_image, 3, "error", "images of several formats", "41 images of 3 channels of uint8; 1 image of 1 channel of uint8", 1),
    (shifted, 3, "error", "masks are shifted by one", "masks of train fit the image before it", 12),
    (interpolated, 9, "error", "masks with blurred borders", "20 masks of 42 have labels at borders", None),
    (rung, 255, "error", "masks with blurred borders", "compressed with loss", 42),
    (copied_to_test, 3, "error", "equal images in several splits", "1 image is in more than one split", 1),
    (copied_within, 3, "warning", "equal images in one split", "1 image occurs more than once", 1),
    (labelled_twice, 3, "warning", "equal images with different masks", "1 image has more than one mask", 1),
    (encoded_again, 3, "warning", "nearly equal images in several splits", "1 pair of images", 1),
    (black, 3, "warning", "images of one value", "1 image of 42 has one value", 1),
    (twelve_bits, 3, "warning", "16-bit images that use few bits", "the largest value of 42 images is 4080", 42),
    (floats_to_255, 3, "warning", "float images outside 0 to 1", "42 images of 42, with values from 0 to 255", 42),
    (bright, 3, "note", "values far from ImageNet's", "the training images have mean 0.9", 0),
    (two_sizes, 3, "note", "images of several sizes", r"2 sizes \(rows × columns\): 48×48 \(41\), 40×64 \(1\)", 0),
]


@pytest.mark.parametrize(
    ("damage", "num_classes", "severity", "title", "words", "files"), CASES, ids=lambda case: getattr(case, "__name__", None)
)
def test_a_mistake_is_found(
    data: Path, damage: Callable[[Path], None], num_classes: int, severity: str, title: str, words: str, files: int | None
) -> None:
    damage(data)
    report = audit_of(data, num_classes)
    (finding,) = [finding for finding in report.findings if finding.title == title]
    assert finding.severity == severity
    assert re.search(words, f"{finding.what}; {finding.remedy}"), finding
    assert files is None or len(finding.files) == files
    assert [one.severity for one in report.findings] == sorted(
        (one.severity for one in report.findings), key=["error", "warning", "note"].index
    )


def test_labels_are_explained() -> None:
    """The greys of VOC's colours are those that Pillow makes of them."""
    assert voc_greys() == {int(grey) for grey in np.array(Image.fromarray(default_palette(21)[None]).convert("L"))[0]}
    for labels in ([], [255], [0, 1, 2], [0, 1, 2, 255], [0, 2, 3], [0], [3], [0, 19], list(range(34))):
        assert explanation(labels) is None, labels


class Failing:
    """A user's data set, whose second sample cannot be made."""

    class_names, num_classes = ("background", "disc"), 2

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        if index == 1:
            raise KeyError("scan-7")
        return Shapes(num_shapes=1).split("train")[index]


def test_samples_without_files_are_audited_and_their_errors_are_findings() -> None:
    splits: dict[str, SegmentationDataset] = {"train": Failing(), "val": Shapes(num_shapes=1, num_val=3).split("val")}
    report = audit(audited_source(splits | {"test": Shapes(num_shapes=1, num_test=3).split("test")}, ("background", "disc")))
    assert found(report) == [("error", "1 sample cannot be used")]
    assert report.findings[0].what == "train 1: KeyError 'scan-7'"
    assert len(report.survey.looks) == 9


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(3, 8, 8, dtype=torch.int64),
        torch.zeros(8, 8),
        torch.zeros(3, 0, 0),
        torch.zeros(3, 9, 9),
        torch.full((3, 8, 8), torch.nan),
    ],
    ids=["int64", "two axes", "empty", "other size", "NaN"],
)
def test_any_image_of_a_users_data_set_is_borne(image: torch.Tensor) -> None:
    class Odd(Failing):
        def __getitem__(self, index: int) -> Sample:
            return Sample(image, torch.zeros(8, 8, dtype=torch.uint8), str(index))

    report = audit(audited_source({split: Odd() for split in SPLITS}, ("background", "disc")))
    assert any(severity == "error" and "cannot be used" in title for severity, title in found(report)), found(report)
