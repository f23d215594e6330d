"""Reading files, pairing them, and every way in which a folder can be wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from seglab.data import ImageMaskFolder, SegmentationDataModule
from seglab.data.reading.read import read_image, read_mask


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


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, r"train/images: no such folder; below the root are expected .*train,val,test.*correct the root"),
        (remove_masks, r"val/masks: no such folder"),
        (remove_a_mask, r"test/images/1.png: this image has no mask 1\.\* in .*test/masks: add the mask, or remove the image"),
        (remove_an_image, r"test/masks/1.png: this mask has no image 1\.\* in .*test/images"),
        (double_an_image, r"train/images/0.png: has the same name as 0.jpg"),
        (empty_a_split, r"val/images: no images in it"),
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
    ],
)
def test_check_names_the_file_and_what_is_wrong(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=message) as caught:
        module(folder).check()
    assert "\n" not in str(caught.value)


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


def test_images_keep_their_channels_and_dtype(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rgb, rgba = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8), rng.integers(0, 256, (4, 5, 4), dtype=np.uint8)
    grey, deep, real = rgb[..., 0], rng.integers(0, 65536, (4, 5), dtype=np.uint16), rng.random((4, 5), dtype=np.float32)
    for name, array, expected in (
        ("rgb.png", rgb, rgb), ("rgba.png", rgba, rgba[..., :3]), ("grey.png", grey, grey[..., None]),
        ("deep.png", deep, deep[..., None]), ("deep.tiff", deep, deep[..., None]), ("real.tiff", real, real[..., None]),
    ):  # fmt: skip
        Image.fromarray(array).save(tmp_path / name)
        read = read_image(tmp_path / name)
        assert read.dtype == expected.dtype, name
        np.testing.assert_array_equal(read, expected, err_msg=name)


def test_sixteen_bit_colours_are_not_cut_to_eight(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 65536, (4, 5, 3), dtype=np.uint16)
    for name in ("colours.png", "colours.tiff"):
        cv2.imwrite(str(tmp_path / name), colours[..., ::-1])
        np.testing.assert_array_equal(read_image(tmp_path / name), colours)


def test_the_orientation_flag_of_a_photograph_is_applied(tmp_path: Path) -> None:
    photo = Image.new("RGB", (10, 8))
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.save(tmp_path / "photo.jpg", exif=exif)
    assert read_image(tmp_path / "photo.jpg").shape == (10, 8, 3)


def test_binary_masks_have_classes_0_and_1(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == [[1, 0]]
