"""Data sets of torch and tables of Hugging Face, by the rules that hold for files."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import VOCSegmentation

from seglab.data import SPLITS, VOC, HuggingFace, SegmentationDataModule, Split, TorchDataset
from tests.data.published import voc
from tests.test_readme import recipe

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 3, (4, 5), dtype=np.uint8)
NAMES = ("a", "b", "c")


def palette(labels: Any) -> Image.Image:
    picture = Image.fromarray(labels)
    picture.putpalette([90, 80, 70, 60, 50, 40, 30, 20, 10])
    return picture


def encoded(picture: Image.Image, form: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form)
    return stream.getvalue()


def opened(picture: Image.Image, form: str) -> Image.Image:
    return Image.open(io.BytesIO(encoded(picture, form)))


def sample_of(image: Any, mask: Any, void: int | None = None) -> Any:
    return TorchDataset(lambda split: [(image, mask)], NAMES, void).split("val")[0]


RGB = PIXELS
GREY = PIXELS[..., :1]
IMAGES: dict[str, tuple[Any, Any]] = {
    "PIL RGB": (Image.fromarray(PIXELS), RGB),
    "PIL grey": (Image.fromarray(GREY[..., 0]), GREY),
    "PIL RGBA": (Image.fromarray(np.dstack([PIXELS, GREY])), RGB),
    "PIL palette": (palette(LABELS), np.array([[90, 80, 70], [60, 50, 40], [30, 20, 10]], np.uint8)[LABELS]),
    "PIL grey and alpha": (Image.fromarray(np.dstack([GREY, GREY]), "LA"), GREY),
    "PIL bilevel": (Image.fromarray(LABELS > 0), np.uint8(255) * (LABELS > 0)[..., None]),
    "PIL 16 bits": (Image.fromarray(GREY[..., 0].astype(np.uint16) * 200), GREY.astype(np.uint16) * 200),
    "PIL floats": (Image.fromarray(GREY[..., 0].astype(np.float32) / 255), GREY.astype(np.float32) / 255),
    "array": (PIXELS, RGB),
    "array (H,W)": (GREY[..., 0], GREY),
    "array of five channels": (np.dstack([PIXELS, PIXELS[..., :2]]), np.dstack([PIXELS, PIXELS[..., :2]])),
    "array of float64": (PIXELS / 255, (PIXELS / 255).astype(np.float32)),
    "array upside down": (PIXELS[::-1], PIXELS[::-1]),
    "tensor": (torch.from_numpy(PIXELS).permute(2, 0, 1), RGB),
    "tensor (H,W)": (torch.from_numpy(GREY[..., 0].copy()), GREY),
    "tensor (1,H,W)": (torch.from_numpy(GREY[..., 0].copy())[None], GREY),
    "tensor of floats": (torch.from_numpy(PIXELS).permute(2, 0, 1) / 255, PIXELS.astype(np.float32) / 255),
    "bytes of a PNG": (encoded(Image.fromarray(PIXELS), "PNG"), RGB),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_of_any_kind_is_read_as_from_a_file(kind: str) -> None:
    given, expected = IMAGES[kind]
    image = sample_of(given, LABELS).image.permute(1, 2, 0).numpy()
    assert (image.dtype, image.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(image, expected, rtol=1e-6)


MASKS: dict[str, Any] = {
    "PIL palette": palette(LABELS),
    "PIL grey": Image.fromarray(LABELS),
    "PIL 32 bits": Image.fromarray(LABELS.astype(np.int32)),
    "PNG of a palette": opened(palette(LABELS), "PNG"),
    "array": LABELS,
    "array of int64": LABELS.astype(np.int64),
    "array of whole floats": LABELS.astype(np.float32),
    "array (H,W,1)": LABELS[..., None],
    "tensor": torch.from_numpy(LABELS),
    "tensor (1,H,W)": torch.from_numpy(LABELS)[None],
    "tensor of int64": torch.from_numpy(LABELS).long(),
    "bytes of a palette": encoded(palette(LABELS), "PNG"),
    "lists": LABELS.tolist(),
}


@pytest.mark.parametrize("kind", MASKS)
def test_a_mask_of_any_kind_is_read_as_indices(kind: str) -> None:
    mask = sample_of(PIXELS, MASKS[kind]).mask
    assert mask.dtype == torch.uint8
    assert mask.tolist() == LABELS.tolist()


def test_void_and_bool_masks() -> None:
    assert sample_of(PIXELS, LABELS.astype(np.int16) - 1, void=-1).mask.tolist() == np.where(LABELS == 0, 255, LABELS - 1).tolist()
    assert sample_of(PIXELS, LABELS > 0).mask.tolist() == (LABELS > 0).astype(int).tolist()


def test_an_orientation_flag_is_applied() -> None:
    turned = Image.fromarray(PIXELS)
    flag = turned.getexif()
    flag[0x0112] = 3  # upside down
    stream = io.BytesIO()
    turned.save(stream, "PNG", exif=flag)
    for image in (Image.open(io.BytesIO(stream.getvalue())), stream.getvalue()):
        assert np.array_equal(sample_of(image, LABELS).image.permute(1, 2, 0).numpy(), PIXELS[::-1, ::-1])


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "an RGB mask": (PIXELS, Image.fromarray(PIXELS), r"val\[0\]: a mask of 3 channels \(RGB\); expected one, of class indices"),
    "a tensor of colours": (PIXELS, torch.from_numpy(PIXELS).permute(2, 0, 1), r"a mask of 3 channels \(RGB\)"),
    "a JPEG as mask": (PIXELS, opened(Image.fromarray(LABELS), "JPEG"), "a mask as JPEG; JPEG is lossy"),
    "bytes of a JPEG as mask": (PIXELS, encoded(Image.fromarray(LABELS), "JPEG"), "a mask as JPEG; JPEG is lossy"),
    "a scaled mask": (PIXELS, LABELS / np.float32(255), "values that are no integers; expected class indices"),
    "a negative label": (PIXELS, LABELS.astype(np.int16) - 1, r"values -1…1 \(int16\); expected class indices"),
    "an int32 image": (PIXELS.astype(np.int32), LABELS, "an image of int32; expected uint8"),
    "channels first": (PIXELS.transpose(2, 0, 1), LABELS, r"the image is an array \(3, 4, 5\).*expected rows × columns × channels"),
    "an object": (object(), LABELS, "a object; expected a PIL image, an array, a tensor"),
    "nothing": (PIXELS, None, "a NoneType; expected a PIL image"),
    "damaged bytes": (b"\x89PNG\r\n\x1a\n", LABELS, "its image cannot be read"),
    "a missing file": (Path("nowhere.png"), LABELS, "nowhere.png"),
    "four axes": (np.zeros((1, 4, 5, 3), np.uint8), LABELS, "an image of the shape"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_right_is_refused_in_one_line(what: str) -> None:
    image, mask, message = REFUSED[what]
    with pytest.raises(ValueError, match=message) as raised:
        sample_of(image, mask)
    assert "\n" not in str(raised.value)
    assert "val[0]" in str(raised.value)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((PIXELS, LABELS, 3), r"train\[0\]: is 3 parts; expected a pair \(image, mask\)"),
        ({"image": PIXELS}, "is a dict; expected a pair"),
        (PIXELS, "is a ndarray; expected a pair"),
    ],
)
def test_an_item_that_is_no_pair_is_refused(item: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TorchDataset(lambda split: [item], NAMES).split("train")[0]


def test_an_item_may_be_a_mapping() -> None:
    sample: Any = TorchDataset(lambda split: [{"mask": LABELS, "image": PIXELS, "id": 3}], NAMES).split("train")[0]
    assert sample.mask.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("make", "names", "message"),
    [
        (lambda split: [], (), "class_names are empty"),
        (lambda split: [], "ab", "class_names is the text 'ab': expected a tuple of names"),
        ("my.squares", ("a", "b"), "make is 'my.squares': expected a function that makes the data set of a split"),
        (lambda split: iter([]), NAMES, r"returned a list_iterator; expected a map-style data set"),
        (lambda split: None, NAMES, r"returned a NoneType; expected a map-style data set"),
    ],
)
def test_a_function_that_makes_no_data_set_is_refused(make: Callable[[Split], Any], names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TorchDataset(make, names)


def test_a_data_set_of_torchvision_gives_the_samples_of_the_files(tmp_path: Path) -> None:
    root = voc(tmp_path)

    def make(split: Split) -> VOCSegmentation:
        return VOCSegmentation(str(root), image_set="val" if split == "test" else "train")

    source, files = TorchDataset(make, VOC.class_names), VOC(root)
    assert len(source.split("train")) == len(files.split("train")) + len(files.split("val"))
    for index in range(len(files.split("test"))):
        one, other = source.split("test")[index], files.split("test")[index]
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.mask, other.mask)
        assert one.name == f"test[{index}]"


def test_contents_are_the_identity_of_items() -> None:
    def data(mask: Any, image: Any = PIXELS) -> Any:
        source = TorchDataset(lambda split: [(PIXELS, LABELS), (image, mask)], NAMES)
        return SegmentationDataModule(source, batch_size=1).identity()["splits"]["train"]

    changed = LABELS.copy()
    changed[0, 0] = (changed[0, 0] + 1) % 3
    assert data(LABELS) == data(LABELS) == data(Image.fromarray(LABELS))
    assert data(LABELS) != data(changed)
    assert data(LABELS) != data(LABELS, PIXELS[::-1])
    whole: Any = TorchDataset(lambda split: [(PIXELS, LABELS), (PIXELS, changed)], NAMES).split("train")
    assert whole.fingerprint_of([0]) != whole.fingerprint() != whole.fingerprint_of([1])


def test_a_random_transform_is_refused() -> None:
    class Random:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Any:
            return torch.rand(3, 4, 5), LABELS

    data = SegmentationDataModule(TorchDataset(lambda split: Random(), NAMES), batch_size=1)
    with pytest.raises(
        ValueError, match=r"train\[0\]: differs between two readings; expected the same item at every call: make the data set without"
    ):
        data.identity()


def test_a_data_set_that_shares_one_file_is_read_by_one_thread_at_a_time() -> None:
    """Read a data set that seeks in an archive: a second thread between `seek` and `read` would mix up the data."""

    class Shared:
        def __init__(self) -> None:
            self.inside = 0

        def __len__(self) -> int:
            return 40

        def __getitem__(self, index: int) -> Any:
            self.inside += 1
            time.sleep(0.002)
            inside, self.inside = self.inside, self.inside - 1
            assert inside == 1
            return PIXELS, LABELS

    SegmentationDataModule(TorchDataset(lambda split: Shared(), NAMES), batch_size=1).check()


def table(root: Path, mask: str = "label", masks: Any = None, count: int = 3) -> Path:
    """Save a table of three splits whose images and masks are PNGs."""
    import datasets

    features = datasets.Features({"image": datasets.Image(), mask: datasets.Image()})
    rows = {
        "image": [{"bytes": encoded(Image.fromarray(np.roll(PIXELS, shift, 0)), "PNG"), "path": None} for shift in range(count)],
        mask: [{"bytes": encoded(palette(LABELS) if masks is None else masks, "PNG"), "path": None} for _ in range(count)],
    }
    one = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": one, "validation": one, "test": one}).save_to_disk(str(root))
    return root


def test_a_saved_table_is_read(tmp_path: Path) -> None:
    source = HuggingFace(str(table(tmp_path / "table")), NAMES)  # type: ignore[arg-type]  # a string will do
    data = SegmentationDataModule(source, batch_size=1, num_workers=0)
    checked = data.check()
    assert checked.images is not None
    assert checked.images.channels == 3
    sample = source.split("val")[1]
    assert sample.mask.tolist() == LABELS.tolist(), "indices of the palette"
    assert np.array_equal(sample.image.permute(1, 2, 0).numpy(), np.roll(PIXELS, 1, 0))
    assert sample.name == "validation[1]"
    assert next(iter(data.train_dataloader())).image.shape == (1, 3, 4, 5)
    elsewhere = SegmentationDataModule(HuggingFace(table(tmp_path / "other"), NAMES), batch_size=1)
    assert data.identity()["splits"] == elsewhere.identity()["splits"]
    changed = SegmentationDataModule(HuggingFace(table(tmp_path / "changed", masks=palette(LABELS * 0)), NAMES), batch_size=1)
    assert data.identity()["splits"] != changed.identity()["splits"]


def test_a_folder_of_parquet_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    saved = datasets.load_from_disk(str(table(tmp_path / "table")))
    (tmp_path / "parquet").mkdir()
    for split in ("train", "validation", "test"):
        saved[split].to_parquet(str(tmp_path / "parquet" / f"{split}-00000-of-00001.parquet"))
    source = HuggingFace(tmp_path / "parquet", NAMES)
    assert [len(source.split(split)) for split in SPLITS] == [3, 3, 3]
    assert source.split("train")[0].mask.tolist() == LABELS.tolist()


def test_class_names_of_a_column_of_arrays(tmp_path: Path) -> None:
    import datasets

    label = datasets.List(datasets.List(datasets.ClassLabel(names=list(NAMES))))
    features = datasets.Features({"pixels": datasets.Array3D((4, 5, 3), "uint8"), "seg": label})
    one = datasets.Dataset.from_dict({"pixels": [PIXELS, PIXELS], "seg": [LABELS.tolist()] * 2}, features=features)
    datasets.DatasetDict({"a": one, "b": one, "c": one}).save_to_disk(str(tmp_path / "t"))
    source = HuggingFace(tmp_path / "t", splits=("a", "b", "c"), image="pixels", mask="seg")
    assert source.class_names == NAMES
    sample = source.split("test")[0]
    assert np.array_equal(sample.image.permute(1, 2, 0).numpy(), PIXELS)
    assert sample.mask.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_names": ()}, "the column label does not name its classes: give class_names"),
        ({"mask": "annotation"}, "has no column 'annotation'; there are image, label: name it"),
        ({"image": "picture"}, "has no column 'picture'"),
        ({"splits": ("train", "val", "test")}, "has no split 'val'; there are train, validation, test"),
    ],
)
def test_what_a_table_lacks_is_named(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HuggingFace(table(tmp_path), **{"class_names": NAMES, **settings})


def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: cannot be loaded \(.*\); expected a folder that save_to_disk has written") as raised:
        HuggingFace(tmp_path / "empty", NAMES)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("path", ["nowhere", "/nowhere/at", "a/b/c"])
def test_a_folder_that_is_missing_is_not_searched_on_the_hub(path: str) -> None:
    with pytest.raises(ValueError, match=f"{path}: no such folder, and no name on the hub, which has the form user/name"):
        HuggingFace(Path(path), NAMES)


def test_a_mask_of_colours_in_a_table_is_refused(tmp_path: Path) -> None:
    source = HuggingFace(table(tmp_path, masks=Image.fromarray(PIXELS)), NAMES)
    with pytest.raises(ValueError, match=r"train\[0\]: a mask of 3 channels \(RGB\); expected one, of class indices"):
        source.split("train")[0]


def test_without_the_library_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)  # as Python itself marks a module that cannot be imported
    with pytest.raises(ImportError, match=r"datasets, which is not installed: pip install 'seglab\[datasets\]'"):
        HuggingFace(tmp_path, NAMES)


def test_the_recipe_of_a_data_set_of_pytorch() -> None:
    data = SegmentationDataModule(TorchDataset(recipe("torch_dataset").squares, ("background", "square")), batch_size=4, num_workers=0)
    assert data.check().sizes.startswith("images of 64×64")
    sample = data.source.split("val")[0]
    assert [int((sample.mask == label).sum()) for label in (0, 1)] == [64 * 64 - 16 * 16, 16 * 16]
    assert [len(data.source.split(split)) for split in SPLITS] == [80, 10, 10]


def test_the_recipe_of_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    made = recipe("table")
    assert capsys.readouterr().out.splitlines()[-1].startswith("images of 32×32")
    assert made.source.split("train")[3].mask.tolist() == made.rows(range(3, 4))["mask"][0].tolist()
