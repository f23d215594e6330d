"""Reading files, pairing them, and every way in which a folder can be wrong."""

import hashlib
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from seglab.compare.metric import Metric
from seglab.data import ImageMaskFolder, PairedFiles, SegmentationDataModule
from seglab.data.sources.labels import labels, mapped

Form = Literal["NFC", "NFD"]
"""Forms of Unicode: composed and decomposed."""


def module(folder: Path) -> SegmentationDataModule:
    return SegmentationDataModule(ImageMaskFolder(folder, num_classes=3), num_workers=0)


def save_mask(values: list[list[int]], file: Path, mode: str = "L") -> None:
    Image.fromarray(np.array(values, np.uint8)).convert(mode).save(file)


def remove_masks(folder: Path) -> None:
    shutil.rmtree(folder / "val" / "masks")


def remove_a_mask(folder: Path) -> None:
    (folder / "test" / "masks" / "1.png").unlink()


def remove_an_image(folder: Path) -> None:
    (folder / "test" / "images" / "1.png").unlink()


def double_an_image(folder: Path) -> None:
    Image.new("RGB", (10, 8)).save(folder / "train" / "images" / "0.jpg")


def empty_a_split(folder: Path) -> None:
    for file in (folder / "val" / "images").iterdir():
        file.unlink()


def another_format_of_a_mask(folder: Path) -> None:
    (folder / "test" / "masks" / "1.png").rename(folder / "test" / "masks" / "1.nii.gz")


def another_format_of_an_image(folder: Path) -> None:
    (folder / "test" / "images" / "1.png").rename(folder / "test" / "images" / "1.txt")


def a_sample_of_another_format(folder: Path) -> None:
    for kind in ("images", "masks"):
        (folder / "test" / kind / "1.png").rename(folder / "test" / kind / "1.HEIC")


def only_another_format(folder: Path) -> None:
    for file in (folder / "val" / "images").iterdir():
        file.rename(file.with_suffix(".jp2"))


def one_name_in_two_forms(folder: Path) -> None:
    forms: tuple[tuple[Form, str], ...] = (("NFC", "png"), ("NFD", "jpg"))
    for form, ending in forms:
        (folder / "train" / "images" / f"{unicodedata.normalize(form, 'é')}.{ending}").touch()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, r"train/images: no such folder; below the root are expected .*train,val,test.*correct the root"),
        (remove_masks, r"val/masks: no such folder"),
        (remove_a_mask, r"test/images/1.png: this image has no mask 1\.\* in .*test/masks: add the mask, or remove the image"),
        (remove_an_image, r"test/masks/1.png: this mask has no image 1\.\* in .*test/images"),
        (double_an_image, r"train/images/0.png: has the same name as 0.jpg"),
        (empty_a_split, r"val/images: no images in it"),
        (
            another_format_of_a_mask,
            r"test/images/1.png: the mask of this image is .*test/masks/1.nii.gz, which is not read, as its ending is",
        ),
        (
            another_format_of_an_image,
            r"test/masks/1.png: the image of this mask is .*test/images/1.txt, which is not read, as its ending is",
        ),
        (
            a_sample_of_another_format,
            r"test/images/1.HEIC: is not read, as its ending is none of .bmp, .gif, .*: convert the image, or move",
        ),
        (only_another_format, r"val/images/0.jp2: is not read, as its ending is none of"),
        (one_name_in_two_forms, r"train/images/.*: has the same name as .*, and files are paired by name: rename or remove one"),
    ],
)
def test_a_wrong_folder_is_found_at_construction(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=message):
        module(folder)


def truncate(folder: Path) -> None:
    file = folder / "train" / "images" / "1.png"
    file.write_bytes(file.read_bytes()[:120])


def not_an_image(folder: Path) -> None:
    (folder / "val" / "images" / "0.png").write_text("hello")


def wrong_label(folder: Path) -> None:
    save_mask([[0] * 10] * 7 + [[17] * 10], folder / "val" / "masks" / "2.png")


def wrong_size(folder: Path) -> None:
    save_mask([[0] * 8] * 10, folder / "test" / "masks" / "0.png")


def colour_mask(folder: Path) -> None:
    save_mask([[0] * 10] * 8, folder / "train" / "masks" / "2.png", "RGB")


def broken_mask(folder: Path) -> None:
    (folder / "train" / "masks" / "2.png").write_bytes(b"")


def wide_mask(folder: Path) -> None:
    Image.fromarray(np.full((8, 10), 300, np.uint16)).save(folder / "train" / "masks" / "2.png")


def grey_image(folder: Path) -> None:
    Image.new("L", (10, 8)).save(folder / "test" / "images" / "2.png")


def a_photograph_as_mask(folder: Path) -> None:
    Image.new("L", (10, 8)).save(folder / "test" / "masks" / "2.png", "JPEG")


def a_folder_as_image(folder: Path) -> None:
    (folder / "test" / "images" / "2.png").unlink()
    (folder / "test" / "images" / "2.png").mkdir()


def a_pipe_as_mask(folder: Path) -> None:
    (folder / "test" / "masks" / "2.png").unlink()
    os.mkfifo(folder / "test" / "masks" / "2.png")


def not_finite(folder: Path) -> None:
    for file in folder.glob("*/images/*.png"):
        image = np.full((8, 10, 3), 0.5, np.float32)
        if file.parts[-3:] == ("val", "images", "1.png"):
            image[2, 3], image[0, 0, 0] = np.nan, np.inf
        tifffile.imwrite(file, image, photometric="rgb")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, r"train/images/1.png: cannot be read as an image"),
        (not_an_image, r"val/images/0.png: cannot be read as an image"),
        (wrong_label, r"val/masks/2.png: label 17, the classes are 0…2, 255 is ignored"),
        (wrong_size, r"test/masks/0.png: the mask has 10×8 pixels \(rows × columns\), its image 8×10: export"),
        (colour_mask, r"train/masks/2.png: a mask of 3 channels \(RGB\); expected one"),
        (broken_mask, r"train/masks/2.png: cannot be read as a mask"),
        (wide_mask, r"train/masks/2.png: values 300…300 .*; expected class indices 0…255"),
        (grey_image, r"test/images/2.png: the image has 1 channel of uint8, the ones before it 3 channels of uint8"),
        (a_photograph_as_mask, r"test/masks/2.png: a mask as JPEG; JPEG is lossy and changes labels"),
        (a_folder_as_image, r"test/images/2.png: is a folder; expected a file with an image"),
        (a_pipe_as_mask, r"test/masks/2.png: is a device or pipe; expected a file with a mask"),
        (not_finite, r"val/images/1.png: 4 of the image's 240 values are infinite or not a number \(NaN\); expected finite values"),
    ],
)
def test_check_names_the_file_and_what_is_wrong(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=message) as caught:
        module(folder).check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [a_folder_as_image, a_pipe_as_mask])
def test_the_fingerprint_names_what_is_no_file(folder: Path, damage: Callable[[Path], None]) -> None:
    """The identity of a study is taken before its data are checked."""
    damage(folder)
    with pytest.raises(ValueError, match=r"2.png: is a (folder|device or pipe)"):
        module(folder).identity()


def test_check_reports_its_progress_and_passes_good_data(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    module(folder).check(lambda done, total: seen.append((done, total)))
    assert seen == [(n, 9) for n in range(1, 10)]


def test_wrong_numbers_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="num_classes is 256: expected 1 to 255"):
        ImageMaskFolder(folder, num_classes=256)
    with pytest.raises(ValueError, match="2 class_names for num_classes=3"):
        ImageMaskFolder(folder, num_classes=3, class_names=("a", "b"))
    with pytest.raises(ValueError, match="batch_size is 0"):
        SegmentationDataModule(ImageMaskFolder(folder, num_classes=3), batch_size=0)
    with pytest.raises(ValueError, match=r"size is \[0, 4\]: expected rows and columns"):
        SegmentationDataModule(ImageMaskFolder(folder, num_classes=3), size=(0, 4))
    with pytest.raises(ValueError, match="num_workers is -1"):
        SegmentationDataModule(ImageMaskFolder(folder, num_classes=3), num_workers=-1)


def test_palette_masks_give_indices_and_void_is_ignored(folder: Path) -> None:
    file = folder / "train" / "masks" / "0.png"
    mask = Image.fromarray(np.tile(np.array([0, 1, 2, 9, 255], np.uint8), (8, 2)))
    mask.putpalette([(200 - i) % 256 for i in range(768)])
    mask.save(file)
    with Image.open(file) as saved:
        assert saved.mode == "P"
    sample = ImageMaskFolder(folder, num_classes=3, void=9).split("train")[0]
    assert sample.mask[0].tolist() == [0, 1, 2, 255, 255] * 2
    assert sample.mask.dtype == torch.uint8
    assert sample.name == "train/images/0.png"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_composed_and_decomposed_names_are_one_name(folder: Path, form: Form, tmp_path: Path) -> None:
    """Write names as other systems do: pairs, names, order and fingerprint are the same."""
    shutil.copytree(folder, tmp_path / "plain")
    other: Form = "NFD" if form == "NFC" else "NFC"
    written_in: dict[Path, tuple[Form, Form]] = {folder: (form, other), tmp_path / "plain": ("NFC", "NFC")}
    for root, forms in written_in.items():
        for kind, written in zip(("images", "masks"), forms, strict=True):
            for old, new in (("0", "zo"), ("1", "zé"), ("2", "zf")):
                (root / "train" / kind / f"{old}.png").rename(root / "train" / kind / f"{unicodedata.normalize(written, new)}.png")
    found, plain = (ImageMaskFolder(root, num_classes=3).split("train") for root in (folder, tmp_path / "plain"))
    assert [found[index].name for index in range(3)] == [plain[index].name for index in range(3)]
    assert [found[index].name for index in range(3)] == ["train/images/zf.png", "train/images/zo.png", "train/images/zé.png"]
    assert isinstance(found, PairedFiles)
    assert isinstance(plain, PairedFiles)
    assert found.fingerprint() == plain.fingerprint()


def test_the_recorded_fingerprint_stays(folder: Path) -> None:
    """A recorded study goes on with the same data."""
    lines = []
    for number in range(3):
        image, mask = (folder / "train" / kind / f"{number}.png" for kind in ("images", "masks"))
        content = hashlib.sha256(mask.read_bytes()).hexdigest()
        lines += [f"train/images/{number}.png {image.stat().st_size}", f"train/masks/{number}.png {content}"]
    dataset = ImageMaskFolder(folder, num_classes=3).split("train")
    assert isinstance(dataset, PairedFiles)
    assert dataset.fingerprint() == hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def test_other_files_beside_a_readable_pair_are_left_out(folder: Path) -> None:
    for name in ("images/0.dng", "images/notes.txt", "masks/0.xml", "masks/legend.pdf", "images/.hidden.png", "images/1.png.aux.xml"):
        (folder / "train" / name).write_text("something else")
    assert len(ImageMaskFolder(folder, num_classes=3).split("train")) == 3


VOIDS = [
    ("uint8", [0, 7, 255], None, [0, 7, 255]),
    ("uint8", [0, 7, 255], 7, [0, 255, 255]),
    ("int8", [-1, 0, 7], -1, [255, 0, 7]),
    ("int16", [-1, 0, 255], -1, [255, 0, 255]),
    ("uint16", [300, 0, 1], 300, [255, 0, 1]),
    ("int64", [2**40, 0, 1], 2**40, [255, 0, 1]),
    ("uint16", [300, 300], 300, [255, 255]),
    ("uint8", [0, 7], -1, "void is -1, but this mask of uint8 can only hold 0 to 255: correct void, or the mask"),
    ("uint8", [0, 7], 300, "void is 300, but this mask of uint8 can only hold 0 to 255"),
    ("int8", [0, 7], 255, "void is 255, but this mask of int8 can only hold -128 to 127"),
    ("uint16", [0, 7], -1, "void is -1, but this mask of uint16 can only hold 0 to 65535"),
    ("int16", [-1, 7], None, "values -1…7 (int16); expected class indices 0…255: correct the mask, or name the label of pixels without"),
    ("int16", [-1, 0, -2], -1, "values -2…0 (int16); expected class indices 0…255"),
    ("uint16", [300, 256, 0], 300, "values 0…256 (uint16); expected class indices 0…255"),
    ("uint32", [2**31, 0], None, "values 0…2147483648 (uint32); expected class indices 0…255"),
]


@pytest.mark.parametrize(("dtype", "stored", "void", "expected"), VOIDS)
def test_void_is_any_label_that_the_mask_can_hold(dtype: str, stored: list[int], void: int | None, expected: list[int] | str) -> None:
    mask, file = np.array([stored], dtype), Path("m.npy")
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=re.escape(f"m.npy: {expected}")):
            labels(mask, void, file)
    else:
        found = labels(mask, void, file)
        assert found.dtype == np.uint8
        assert found.tolist() == [expected]


@pytest.mark.parametrize("name", ["", " ", "a/b", "/", "a\n", "a\tb", " a", "a ", "a\0", "\x1b[0m", "\u200b", 3])
def test_class_names_that_are_no_part_of_a_metrics_name_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(
        ValueError, match=r"class name .*: expected a text without slashes, control characters, and spaces at its ends"
    ) as caught:
        SegmentationDataModule(ImageMaskFolder(folder, num_classes=3, class_names=("a", name, "c")))
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("names", [("a", "a", "c"), ("é", "e\u0301", "c")])
def test_class_names_that_are_alike_are_refused(folder: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"class_names \[.*\]: expected names that are all different"):
        SegmentationDataModule(ImageMaskFolder(folder, num_classes=3, class_names=names))


@pytest.mark.parametrize("name", ["class 0", "Straße", "道路", "a.b", "a,b", "a\\b", "50 % grey", "a_b-c"])
def test_other_class_names_are_accepted_and_parsed_back(folder: Path, name: str) -> None:
    data = SegmentationDataModule(ImageMaskFolder(folder, num_classes=3, class_names=("a", name, "c")))
    assert Metric.parse(f"test/iou/{data.class_names[1]}").class_name == name


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int64])
def test_a_table_gives_the_class_of_each_label(dtype: type[np.integer[Any]]) -> None:
    stored = np.array([[0, 7, 8], [100, 7, 0]], dtype)
    expected = np.array([[0, 1, 1], [255, 1, 0]], np.uint8)
    assert np.array_equal(mapped(stored, None, {0: 0, 7: 1, 8: 1, 100: 255}, Path("a.png")), expected)
    assert np.array_equal(mapped(stored, 100, {0: 0, 7: 1, 8: 1}, Path("a.png")), expected)


def test_a_table_ignores_255_unless_it_names_it() -> None:
    stored = np.array([[0, 255]], np.uint8)
    assert mapped(stored, None, {0: 0, 255: 1}, Path("a.png")).tolist() == [[0, 1]]
    assert mapped(stored, None, {0: 3}, Path("a.png")).tolist() == [[3, 255]]


def test_a_label_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a\.png: label 8 is not in the table of labels, which has 0, 7: add the label to it"):
        mapped(np.array([[0, 8]], np.uint8), None, {7: 1, 0: 0}, Path("a.png"))


@pytest.mark.skipif(sys.platform == "darwin", reason="the file systems of a Mac hold no such name")
@pytest.mark.parametrize("patterns", [{}, {"images": "{split}/images/*.png", "masks": "{split}/masks/*.png"}])
def test_a_name_that_is_not_utf8_is_refused(folder: Path, patterns: dict[str, str]) -> None:
    """Hashes and records could not hold it."""
    for kind in ("images", "masks"):
        place = folder / "train" / kind
        shutil.copy(place / "0.png", os.fsdecode(os.fsencode(place) + b"/\xe9.png"))
    with pytest.raises(ValueError, match=r"xe9\.png' in it is not UTF-8: rename the file"):
        ImageMaskFolder(folder, num_classes=3, **patterns).split("train")  # type: ignore[arg-type]
