"""`predictions.png`: which images are chosen, and what the sheet shows of them."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from seglab import CrossEntropy, SegmentationModule
from seglab.callbacks import PredictionPictures
from seglab.callbacks.pictures import chosen
from seglab.callbacks.sheet import HEADINGS, MOST_CLASSES, SIDE, WRONG, Classes, PredictedImage, draw, fonts_for, hatch, iou_of, panels
from seglab.data import SegmentationDataModule, Shapes
from seglab.data.sources.dataset import default_palette
from seglab.sample import IGNORE, Batch

IMAGES = 11


def picture(rows: int, columns: int, classes: int = 4, name: str = "a.png", seed: int = 0) -> PredictedImage:
    """Random classes with a tenth of wrong pixels, and an eighth of the rows not counted."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, (rows, columns))
    prediction = np.where(generator.random(truth.shape) < 0.1, (truth + 1) % classes, truth)
    truth[: rows // 8] = IGNORE
    return PredictedImage(name, generator.integers(0, 256, (rows, columns, 3), np.uint8), truth, prediction)


def known(classes: int = 4, names: Sequence[str] = ()) -> Classes:
    return Classes(names or [f"class-{label}" for label in range(classes)], default_palette(classes), IGNORE)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def evaluated(folder: Path, batch_size: int, callbacks: Sequence[Callback] = (), devices: int = 1) -> L.Trainer:
    """Test a network on Shapes, with the pictures written into `folder`."""
    data = SegmentationDataModule(
        Shapes(num_train=8, num_val=2, num_test=IMAGES, image_size=32, num_shapes=3), batch_size=batch_size, num_workers=0
    )
    L.seed_everything(0, verbose=False)
    module = SegmentationModule(nn.Conv2d(3, data.num_classes, 3, padding=1), CrossEntropy(), num_classes=data.num_classes)
    trainer = L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp_spawn" if devices > 1 else "auto",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        callbacks=[PredictionPictures(folder, data.palette), *callbacks],
        default_root_dir=folder,
    )
    trainer.test(module, datamodule=data, verbose=False)
    return trainer


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The picture of a test in batches of one image."""
    folder = tmp_path_factory.mktemp("alone")
    evaluated(folder, batch_size=1)
    return (folder / "predictions.png").read_bytes()


@pytest.mark.parametrize("batch_size", [2, 4, 8, 16])
def test_the_images_do_not_depend_on_the_batch_size(alone: bytes, batch_size: int, tmp_path: Path) -> None:
    evaluated(tmp_path, batch_size)
    assert (tmp_path / "predictions.png").read_bytes() == alone


@pytest.mark.slow
def test_the_images_do_not_depend_on_the_number_of_ranks(alone: bytes, tmp_path: Path) -> None:
    evaluated(tmp_path, batch_size=4, devices=2)
    assert (tmp_path / "predictions.png").read_bytes() == alone


@pytest.mark.parametrize(
    ("images", "expected"),
    [(0, []), (1, [0]), (3, [0, 1, 2]), (4, [0, 1, 2, 3]), (8, [1, 3, 5, 7]), (11, [1, 4, 6, 9]), (233, [29, 87, 145, 203])],
)
def test_images_are_spread_evenly(images: int, expected: list[int]) -> None:
    assert chosen(4, images) == expected


def test_pictures_change_no_score(tmp_path: Path) -> None:
    with_pictures = evaluated(tmp_path, batch_size=4).callback_metrics
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False)
    data = SegmentationDataModule(Shapes(num_train=8, num_val=2, num_test=IMAGES, image_size=32, num_shapes=3), batch_size=4, num_workers=0)
    L.seed_everything(0, verbose=False)
    module = SegmentationModule(nn.Conv2d(3, data.num_classes, 3, padding=1), CrossEntropy(), num_classes=data.num_classes)
    trainer.test(module, datamodule=data, verbose=False)
    assert trainer.callback_metrics.keys() == with_pictures.keys()
    for name, value in trainer.callback_metrics.items():
        assert torch.equal(value, with_pictures[name]) or (value.isnan() and with_pictures[name].isnan()), name


@pytest.mark.parametrize(
    ("rows", "columns"), [(48, 48), (360, 480), (480, 360), (1024, 2048), (30, 50), (224, 224), (225, 224), (17, 400), (400, 3), (1, 1)]
)
def test_panels_have_one_size_and_the_proportions_of_the_mask(rows: int, columns: int) -> None:
    shown = panels(picture(rows, columns), known())
    assert len({panel.shape for panel in shown}) == 1
    height, width, channels = shown[0].shape
    assert (max(height, width) <= SIDE, channels) == (True, 3)
    scale = max(height, width) / max(rows, columns)
    assert abs(height - rows * scale) <= 1
    assert abs(width - columns * scale) <= 1
    assert {panel.dtype for panel in shown} == {np.dtype(np.uint8)}


def test_an_image_of_another_size_than_its_mask_is_shown_like_it() -> None:
    """The size of the network's input, such as 96×128, is not that of the masks."""
    drawn = picture(360, 480)
    halves = np.zeros((96, 128, 3), np.uint8)
    halves[:, 64:] = 255
    image, truth, *_ = panels(drawn._replace(image=halves), known())
    assert image.shape == truth.shape
    assert (image[:, : image.shape[1] // 2] == 0).all()
    assert (image[:, image.shape[1] // 2 :] == 255).all()


def test_each_panel_shows_what_its_heading_says() -> None:
    drawn, classes = picture(40, 56), known()
    scale = SIDE // 56
    image, truth, prediction, errors = (panel[::scale, ::scale] for panel in panels(drawn, classes))
    counted = drawn.truth != IGNORE
    assert (image == drawn.image).all()
    assert (truth[counted] == classes.palette[drawn.truth[counted]]).all()
    assert (prediction[counted] == classes.palette[drawn.prediction[counted]]).all()
    wrong = counted & (drawn.truth != drawn.prediction)
    assert (errors[wrong] == WRONG).all()
    assert (np.ptp(errors[counted & ~wrong].astype(int), axis=-1) == 0).all(), "an image in grey"
    stripes = hatch((40 * scale, 56 * scale))[::scale, ::scale]
    for panel in (truth, prediction, errors):
        assert (panel[~counted] == stripes[~counted]).all()


@pytest.mark.parametrize("ignore_index", [-1, 3, 255])
def test_the_label_that_is_not_counted_is_the_modules(ignore_index: int) -> None:
    truth = np.array([[0, 1], [1, ignore_index]])
    drawn = PredictedImage("a", np.zeros((2, 2, 3), np.uint8), truth, np.array([[0, 0], [1, 2]]))
    classes = Classes("abc", default_palette(3), ignore_index)
    errors = panels(drawn, classes)[3]
    assert (errors == WRONG).all(axis=-1).mean() == 0.25  # and not the last pixel
    assert iou_of(drawn, ignore_index) == "mIoU of this image 50.0 %"  # class 0: 1/2, class 1: 1/2
    assert texts(draw([drawn], classes))[-4:] == ["a", "b", "wrong", "not counted"]


def test_an_image_without_a_counted_pixel() -> None:
    drawn = picture(8, 8)._replace(truth=np.full((8, 8), IGNORE))
    assert "no pixel is counted" in texts(draw([drawn], known()))


@pytest.mark.parametrize("classes", [2, 11, 24, 25, 150, 255])
def test_the_legend_names_the_classes_that_occur(classes: int) -> None:
    drawn = picture(64, 64, classes)
    found = texts(draw([drawn], known(classes)))
    named = [text for text in found if text.startswith("class-")]
    occur = set(drawn.truth[drawn.truth != IGNORE]) | set(drawn.prediction[drawn.truth != IGNORE])
    assert len(named) == min(len(occur), MOST_CLASSES)
    assert (f"and {len(occur) - MOST_CLASSES} more classes" in found) is (len(occur) > MOST_CLASSES)
    assert set(HEADINGS) <= set(found)
    two = texts(draw([picture(64, 64, 2)], known(classes)))
    assert [text for text in two if text.startswith("class-")] in (["class-0", "class-1"], ["class-1", "class-0"])


def test_images_of_different_sizes_stand_on_one_sheet_with_their_names() -> None:
    sizes = ((360, 480), (200, 600), (600, 200), (30, 50))
    figure = draw([picture(*size, name=f"folder/{'x' * 200}{number}.jpg") for number, size in enumerate(sizes)], known())
    assert sum(text.startswith("…x") and text.endswith(".jpg") for text in texts(figure)) == 4
    assert png(figure).size[0] <= 4 * SIDE + 40


def png(figure: Figure) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return Image.open(file)


def test_a_sheet_is_about_a_megabyte_even_for_large_images_of_noise() -> None:
    areas = np.kron(np.random.default_rng(0).integers(0, 150, (20, 20)), np.ones((25, 25), np.int64))
    drawn = [picture(500, 500, seed=seed)._replace(truth=areas, prediction=areas.T) for seed in range(4)]
    file = io.BytesIO()
    draw(drawn, known(150, [f"a long name of a class {label}" for label in range(150)])).savefig(file, format="png", dpi=100)
    assert len(file.getvalue()) <= 1.2 * 2**20


def test_names_in_other_scripts_are_drawn_where_a_font_has_them() -> None:
    covered = "Straße, дорога, δρόμος, $\\frac{1$, ᶄ"  # the last letter is in another font of matplotlib
    families, missing = fonts_for(covered)
    assert (missing, families[0], len(families) > 1) == (set(), "DejaVu Sans", True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a letter without a glyph is a warning
        png(draw([picture(48, 48, 4)], known(4, ["Straße", "дорога", "$\\frac{1$", "ᶄ"])))


def test_a_name_that_no_font_has_is_the_number_of_its_class() -> None:
    unknown = chr(0x10FFFD)  # for private use: in no font
    assert fonts_for(f"a{unknown}")[1] == {unknown}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw([picture(48, 48, 2)], known(2, ["road", f"b{unknown}"]))
        png(figure)
    assert {"road", "class 1"} <= set(texts(figure))


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_every_kind_of_image_is_shown(channels: int, dtype: torch.dtype, tmp_path: Path) -> None:
    callback = PredictionPictures(tmp_path, default_palette(3))
    ramp = torch.linspace(0, 1, 32 * 32).reshape(1, 1, 32, 32).expand(2, channels, 32, 32)
    full = {torch.uint8: 255, torch.uint16: 65535}.get(dtype, 1)
    image = (ramp * full).round().to(dtype) if full > 1 else ramp.to(dtype)
    mask = torch.zeros(2, 32, 32, dtype=torch.uint8)
    batch = Batch(image, mask, ("a", "b"), torch.tensor([[32, 32]] * 2), torch.tensor([[32, 32]] * 2))
    module = SegmentationModule(nn.Conv2d(channels, 3, 1), CrossEntropy(), num_classes=3, mean=[0.5], std=[0.5])
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[callback])
    trainer.test(module, dataloaders=torch.utils.data.DataLoader(_Batches(batch), batch_size=None), verbose=False)
    shown: NDArray[np.uint8] = np.asarray(Image.open(tmp_path / "predictions.png").convert("L"))
    assert shown.min() < 20
    assert len(np.unique(shown)) > 100, "the ramp of the image"


class _Batches(torch.utils.data.Dataset[Batch]):
    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Batch:
        return self.batch
