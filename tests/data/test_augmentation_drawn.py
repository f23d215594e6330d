"""All transforms of albumentations and random pipelines of them: labels stay, a marked pixel moves with its image."""

import inspect
import random
import warnings
from functools import cache
from typing import Any

import albumentations as A
import numpy as np
import pytest

from seglab.data.augmentation.pipeline import pipeline_of
from seglab.data.augmentation.rehearsal import rehearse
from seglab.sample import IGNORE

Array = Any
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:albumentations")


@cache
def transforms() -> dict[str, type]:
    """All classes of albumentations that are made without arguments."""
    found = {}
    for name, kind in vars(A).items():
        if (
            isinstance(kind, type)
            and issubclass(kind, A.BasicTransform)
            and not inspect.isabstract(kind)
            and kind.__module__ != "albumentations.core.transforms_interface"
        ):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    kind()
                except Exception:  # noqa: BLE001 - it needs arguments
                    continue
            found[name] = kind
    return found


REFUSED = {
    "BBoxSafeRandomCrop", "RandomCropNearBBox",  # boxes
    "FDA", "HistogramMatching", "PixelDistributionAdaptation", "Mosaic", "OverlayElements",  # other images
    "CoarseDropout3D", "CubicSymmetry",  # volumes
    "Crop",  # of 1024 pixels
    "FromFloat", "ToFloat", "Normalize", "ToTensorV2",  # another kind of image
}  # fmt: skip
"""Transforms that cannot be used on an image and a mask of uint8, or make something else of them."""

KEPT = sorted(set(transforms()) - REFUSED)


def blocks(rows: int = 48, columns: int = 64) -> tuple[Array, Array]:
    """Return an image of blocks in random colours, and a mask of blocks with labels 10, 90, 170 and 250.

    No mixture of two labels is one of the labels.
    """
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (rows // 4, columns // 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    return image, np.array([10, 90, 170, 250], np.uint8)[rng.integers(0, 4, (rows // 8, columns // 8)).repeat(8, 0).repeat(8, 1)]


def test_the_table_is_that_of_the_installed_release() -> None:
    assert set(transforms()) >= REFUSED
    assert len(KEPT) >= 80


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_used_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"augmentation step {name} "):
        rehearse(pipeline_of(lambda: A.Compose([transforms()[name]()])), *blocks(), "here")


@pytest.mark.parametrize("name", KEPT)
def test_each_transform_keeps_the_contract(name: str) -> None:
    pipeline = pipeline_of(lambda: A.Compose([transforms()[name](p=1.0)]))
    image, mask = blocks()
    rehearse(pipeline, image, mask, "here")
    for seed in range(3):
        moved, labels = pipeline.augment(image.copy(), mask.copy(), np.random.SeedSequence(seed))
        again = pipeline.augment(image.copy(), mask.copy(), np.random.SeedSequence(seed))
        assert np.array_equal(moved, again[0])
        assert np.array_equal(labels, again[1])
        assert (moved.dtype.name, moved.shape[-1], labels.shape) == ("uint8", 3, moved.shape[:2])
        assert set(np.unique(labels)) <= {10, 90, 170, 250, IGNORE}


@pytest.mark.parametrize("draw", range(25))
def test_drawn_pipelines_keep_the_contract(draw: int) -> None:
    rng = random.Random(draw)
    steps = [transforms()[name](p=rng.choice([0.3, 1.0])) for name in rng.sample(KEPT, 4)]
    composed = [steps[0], A.OneOf(steps[1:3], p=0.8), A.Sequential(steps[3:])]
    pipeline = pipeline_of(lambda: A.Compose(composed))
    for seed in range(3):
        moved, labels = pipeline.augment(*blocks(), np.random.SeedSequence([draw, seed]))
        assert (moved.dtype.name, moved.shape[-1], labels.shape) == ("uint8", 3, moved.shape[:2]), steps
        assert set(np.unique(labels)) <= {10, 90, 170, 250, IGNORE}, steps


GEOMETRIC = [
    A.HorizontalFlip, A.VerticalFlip, A.Transpose, A.D4, A.RandomRotate90, A.Rotate, A.SafeRotate, A.Affine, A.ShiftScaleRotate, A.Perspective,
    A.RandomScale, A.RandomCropFromBorders, A.Pad, A.GridDistortion, A.ElasticTransform, A.OpticalDistortion, A.ThinPlateSpline,
]  # fmt: skip


@pytest.mark.parametrize("kind", GEOMETRIC, ids=lambda kind: kind.__name__)
def test_a_marked_pixel_moves_with_its_image(kind: Any) -> None:
    """A 9×9 block's centre, by brightness in the image and by label in the mask, agrees to three quarters of a pixel.

    RandomScale resizes masks by OpenCV's INTER_NEAREST, which is up to half a pixel further off.
    """
    tolerance = 1.25 if kind is A.RandomScale else 0.75
    pipeline = pipeline_of(lambda: A.Compose([kind(p=1.0)]))
    compared = 0
    for seed in range(20):
        image, mask = np.zeros((96, 96, 3), np.uint8), np.zeros((96, 96), np.uint8)
        row, column = np.random.default_rng(seed).integers(30, 60, 2)
        image[row : row + 9, column : column + 9], mask[row : row + 9, column : column + 9] = 255, 1
        moved, labels = pipeline.augment(image, mask, np.random.SeedSequence(seed))
        there = labels == 1
        if not there.any() or there[0].any() or there[-1].any() or there[:, 0].any() or there[:, -1].any():
            continue
        weights = moved[..., 0].astype(float) / moved[..., 0].sum()
        centre = [(weights * index).sum() for index in np.indices(weights.shape)]
        assert np.abs(np.subtract(centre, np.argwhere(there).mean(0))).max() < tolerance
        compared += 1
    assert compared > 5
