"""Predictions of all arms side by side, on the images where they differ most: from the sheets that runs write."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from seglab.callbacks.sheet import Classes, PredictedImage, panels, write
from seglab.compare import ImageFindings, analyse, read_folder, write_report
from seglab.compare.images.boxes import KEY, SheetBoxes
from seglab.compare.images.pictures import MOST_ARMS, MOST_IMAGES, side_by_side
from seglab.data.sources.dataset import default_palette
from seglab.records import Run, StudyRecord
from seglab.running.trained import Matrices, write_matrices
from tests.compare.drawn import result, write_study

CLASSES = Classes(("road", "car", "sky"), default_palette(3), 255)
NAMES = [f"test/{name}" for name in ("plain.png", "дорога.png", "<b>.png", "long.png", "e.png", "f.png")]
SIZES = ((40, 60), (60, 40), (360, 480), (17, 300), (40, 40), (8, 8))


def pictures(seed: int) -> list[PredictedImage]:
    """The same images and truths for every seed, with other predictions."""
    fixed, own = np.random.default_rng(0), np.random.default_rng(seed)
    return [
        PredictedImage(name, fixed.integers(0, 256, (*size, 3), np.uint8), fixed.integers(0, 3, size), own.integers(0, 3, size))
        for name, size in zip(NAMES, SIZES, strict=True)
    ]


def write_sheet(path: Path, drawn: list[PredictedImage]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write(drawn, CLASSES, file)


def pixels(address: str) -> NDArray[np.uint8]:
    content = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


RUNS = [Run("study", "none", 0), Run("study", "l1", 2)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, run in enumerate(RUNS):
        write_sheet(run.directory(tmp_path) / "predictions.png", pictures(seed + 1))
    return tmp_path


def scored(none: list[float], l1: list[float]) -> ImageFindings:
    """Findings in which an arm has these mIoUs of the images."""
    found = {RUNS[0]: none, RUNS[1]: l1, Run("study", "l1", 3): l1}
    return ImageFindings("test", names=tuple(NAMES), mious={run: np.array(mious) for run, mious in found.items()})


def test_panels_are_cut_from_the_sheets(folder: Path) -> None:
    found = side_by_side(folder, RUNS, scored([0.5] * 6, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]))
    assert found is not None
    shown = {seed: {picture.name: picture for picture in pictures(seed + 1)} for seed in range(2)}
    for example in found.examples:
        image, truth, *_ = panels(shown[0][example.name], CLASSES)
        np.testing.assert_array_equal(pixels(example.image), image)
        np.testing.assert_array_equal(pixels(example.truth), truth)
        for seed, prediction in enumerate(example.predictions):
            *_, predicted, errors = panels(shown[seed][example.name], CLASSES)
            np.testing.assert_array_equal(pixels(prediction.prediction), predicted)
            np.testing.assert_array_equal(pixels(prediction.errors), errors)
    assert pixels(found.legend).shape[0] < 60


def test_images_are_sorted_by_the_range_of_their_miou(folder: Path) -> None:
    found = side_by_side(folder, RUNS, scored([0.5, 0.9, 0.5, 0.4, np.nan, 0.5], [0.6, 0.1, 0.5, 0.6, 0.9, 0.2]))
    assert found is not None
    assert [example.name for example in found.examples] == [NAMES[place] for place in (1, 5, 3, 0)]
    assert [example.range for example in found.examples] == ["80.00 points", "30.00 points", "20.00 points", "10.00 points"]
    first = found.examples[0].predictions
    assert [shown.miou for shown in first] == ["mIoU 90.00 %; mean of 1 seed 90.00 %", "mIoU 10.00 %; mean of 2 seeds 10.00 %"]
    assert "Each run keeps the predictions of 6 images, spread evenly over the 6 test images." in found.caption


def test_without_scores_the_first_images_are_shown(folder: Path) -> None:
    found = side_by_side(folder, RUNS, ImageFindings("test"))
    assert found is not None
    assert [example.name for example in found.examples] == NAMES[:MOST_IMAGES]
    assert {example.range for example in found.examples} == {""}
    assert "no confusion.npz was read, which says where the arms differ most" in found.caption


def test_many_arms_are_cut(tmp_path: Path) -> None:
    runs = [Run("study", f"arm{place}", 0) for place in range(MOST_ARMS + 1)]
    for run in runs:
        write_sheet(run.directory(tmp_path) / "predictions.png", pictures(0)[:1])
    found = side_by_side(tmp_path, runs, ImageFindings("test"))
    assert found is not None
    assert [len(example.predictions) for example in found.examples] == [MOST_ARMS]
    assert f"the first {MOST_ARMS} are shown" in found.caption


def test_a_sheet_without_boxes_or_a_damaged_one_is_not_cut(folder: Path) -> None:
    path = RUNS[1].directory(folder) / "predictions.png"
    content = path.read_bytes()
    Image.open(path).save(path, pnginfo=None)  # as an earlier version wrote it
    assert side_by_side(folder, RUNS, ImageFindings("test")) is None
    for damaged in (content[:2000], b"", b"no picture"):
        path.write_bytes(damaged)
        assert side_by_side(folder, RUNS, ImageFindings("test")) is None
    path.unlink()
    assert side_by_side(folder, RUNS, ImageFindings("test")) is None


def test_the_boxes_are_in_the_file(folder: Path) -> None:
    with Image.open(RUNS[0].directory(folder) / "predictions.png") as picture:
        boxes = SheetBoxes.from_text(picture.info[KEY])
        assert [row.name for row in boxes.rows] == NAMES
        assert boxes.legend[2:] == picture.size
    assert SheetBoxes.from_text(boxes.to_text()) == boxes
    with pytest.raises(ValueError, match="rows"):
        SheetBoxes.from_text("{}")


def test_the_report_shows_them(tmp_path: Path) -> None:
    results = [result(arm, seed, 0.5) for arm in ("none", "l1") for seed in range(2)]
    write_study(tmp_path, results, StudyRecord("study", "none", "test/miou", {}, {"none": {}, "l1": {}}))
    generator = np.random.default_rng(0)
    for place, one in enumerate(results):
        directory = one.run.directory(tmp_path)
        write_sheet(directory / "predictions.png", pictures(place))
        write_matrices(directory / "confusion.npz", {"test": Matrices(NAMES, generator.integers(0, 9, (6, 2, 2)), ["a"] * 6)})
    study = read_folder(tmp_path)
    page = write_report(analyse(study, study.criteria("cost/seconds"))).read_text(encoding="utf-8")
    assert ">Predictions where the arms differ most</h2>" in page
    assert page.count("<img ") == MOST_IMAGES * (2 + 2 * 2) + 1
    assert "points between the arms</h3>" in page
    assert "<b>.png" not in page
    with np.load(tmp_path / "none" / "seed-0" / "confusion.npz") as arrays:
        assert arrays["test_groups"].tolist() == ["a"] * 6
