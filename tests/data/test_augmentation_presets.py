"""Presets: image and mask move together and exactly, outside is ignored, and a strength changes its own part only."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from seglab.data import LightAugmentation, SegmentationDataModule, Shapes, StrongAugmentation
from seglab.data.augmentation.pipeline import pipeline_of
from seglab.data.augmentation.presets import Preset
from seglab.data.augmentation.rehearsal import rehearse
from seglab.data.augmentation.warp import affine, blurred, noisy, recoloured, warp
from seglab.sample import IGNORE

Array = Any
OFF: dict[str, float] = {field.name: 1.0 if field.name == "scale" else 0.0 for field in fields(Preset)}
PRESETS = [LightAugmentation(), StrongAugmentation()]


def smooth(rows: int = 40, columns: int = 56, channels: int = 3) -> Array:
    """A smooth image (H,W,C) float64 in 0…1."""
    noise = np.random.default_rng(0).random((rows, columns, channels))
    image = ndimage.gaussian_filter(noise, (3, 3, 0))
    return (image - image.min()) / np.ptp(image)


def only(**strengths: float) -> LightAugmentation:
    return LightAugmentation(**(OFF | strengths))


@given(st.floats(0.5, 2), st.floats(-180, 180), st.floats(-9, 9), st.floats(-9, 9), st.booleans())
def test_a_warp_is_that_of_scipy(scale: float, degrees: float, right: float, down: float, flip: bool) -> None:
    """SciPy's affine_transform, in (row, column), by double precision; OpenCV rounds places to 1/32 of a pixel.

    Labels are those of the nearest pixel, computed by NumPy.
    """
    image, mask = smooth(), (smooth()[..., 0] * 4).astype(np.uint8)
    matrix = affine((40, 56), scale=scale, degrees=degrees, shift=(right, down), flip=flip)
    moved, labels = warp(image.astype(np.float32), mask, matrix)
    linear, offset = matrix[::-1, 1::-1], matrix[::-1, 2]
    expected = np.stack([ndimage.affine_transform(image[..., channel], linear, offset, order=1) for channel in range(3)], -1)
    inside = ndimage.affine_transform(np.ones(mask.shape), linear, offset, order=1) > 0.999
    assert np.abs(moved - expected)[inside].max(initial=0) < 0.02
    places = linear @ np.indices(mask.shape).reshape(2, -1) + offset[:, None]
    row, column = np.rint(places).astype(int)
    there = (row >= 0) & (row < 40) & (column >= 0) & (column < 56)
    nearest = np.where(there, mask[row.clip(0, 39), column.clip(0, 55)], IGNORE)
    clear = (np.abs(places - np.floor(places) - 0.5) > 0.01).all(0)  # not half-way between two pixels
    assert np.array_equal(labels.ravel()[clear], nearest[clear])
    assert set(np.unique(labels)) <= {*np.unique(mask).tolist(), IGNORE}


@pytest.mark.parametrize("size", [(5, 7), (6, 8), (1, 1)])
def test_a_flip_and_a_whole_shift_are_exact(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 65536, (*size, 5)).astype(np.uint16)
    mask = np.random.default_rng(1).integers(0, 200, size).astype(np.uint8)
    flipped, labels = warp(image, mask, affine(size, scale=1, degrees=0, shift=(0, 0), flip=True))
    assert np.array_equal(flipped, image[:, ::-1])
    assert np.array_equal(labels, mask[:, ::-1])
    moved, labels = warp(image, mask, affine(size, scale=1, degrees=0, shift=(2, 1), flip=False))
    assert np.array_equal(moved[1:, 2:], image[:-1, :-2])
    assert np.array_equal(labels[1:, 2:], mask[:-1, :-2])
    outside = np.ones(size, bool)
    outside[1:, 2:] = False
    assert (moved[outside] == 0).all()
    assert (labels[outside] == IGNORE).all()


def test_a_quarter_turn_is_counter_clockwise_and_exact() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    turned, labels = warp(image, image[..., 0], affine((9, 9), scale=1, degrees=90, shift=(0, 0), flip=False))
    assert np.array_equal(turned, np.rot90(image))
    assert np.array_equal(labels, np.rot90(image[..., 0]))


@pytest.mark.parametrize("preset", PRESETS)
@given(st.integers(0, 2**32), st.integers(8, 31), st.integers(8, 47))
def test_a_marked_pixel_moves_with_its_image(preset: Preset, seed: int, row: int, column: int) -> None:
    """A block of 3×3, so that shrinking does not lose it; image and mask agree on its centre to half a pixel."""
    geometry = replace(preset, brightness=0.0, contrast=0.0, hue=0.0, blur=0.0, noise=0.0)
    image, mask = np.zeros((40, 56, 3), np.float32), np.zeros((40, 56), np.uint8)
    image[row - 1 : row + 2, column - 1 : column + 2], mask[row - 1 : row + 2, column - 1 : column + 2] = 1, 1
    moved, labels = geometry.augment(image, mask, np.random.SeedSequence(seed))
    there = (labels == 1).astype(float)
    away_from_the_border = not (there[0].any() or there[-1].any() or there[:, 0].any() or there[:, -1].any()) and there.any()
    if away_from_the_border:
        centres = np.subtract(ndimage.center_of_mass(moved[..., 0]), ndimage.center_of_mass(there))
        assert np.abs(centres).max() < 0.5


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 1), ("uint8", 3), ("uint8", 6), ("uint16", 3), ("uint16", 7), ("float32", 2)])
def test_presets_keep_the_contract_for_every_kind_of_image(preset: Preset, dtype: str, channels: int) -> None:
    scale = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    image, mask = (smooth(channels=channels) * scale).astype(dtype), (smooth()[..., 0] * 4).astype(np.uint8)
    rehearse(pipeline_of(preset), image, mask, "here")
    for seed in range(20):
        moved, labels = preset.augment(image, mask, np.random.SeedSequence(seed))
        assert (moved.dtype, moved.shape, labels.dtype, labels.shape) == (image.dtype, image.shape, mask.dtype, mask.shape)
        assert (moved[labels == IGNORE] <= image.max()).all()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_values_of_other_images_than_uint8_stay(dtype: str) -> None:
    image, mask = (smooth() * (65535 if dtype == "uint16" else 1)).astype(dtype), np.zeros((40, 56), np.uint8)
    colours = only(brightness=1, contrast=1, hue=180, blur=9, noise=1)
    assert np.array_equal(colours.augment(image, mask, np.random.SeedSequence(0))[0], image)


def test_without_strengths_nothing_changes() -> None:
    image, mask = (smooth() * 255).astype(np.uint8), (smooth()[..., 0] * 4).astype(np.uint8)
    for seed in range(5):
        same = only().augment(image, mask, np.random.SeedSequence(seed))
        assert np.array_equal(same[0], image)
        assert np.array_equal(same[1], mask)


@pytest.mark.parametrize("name", ["flip", "shift", "rotation", "brightness", "contrast", "hue", "blur", "noise", "scale"])
def test_a_strength_changes_its_own_part_and_no_other_random_number(name: str) -> None:
    image, mask = (smooth() * 255).astype(np.uint8), (smooth()[..., 0] * 4).astype(np.uint8)
    preset = StrongAugmentation()
    weaker = replace(preset, **{name: OFF[name]})
    labels = [(preset.augment(image, mask, s)[1], weaker.augment(image, mask, s)[1]) for s in map(np.random.SeedSequence, range(8))]
    geometric = name in ("flip", "shift", "rotation", "scale")
    assert all(np.array_equal(a, b) for a, b in labels) != geometric
    differ = [
        not np.array_equal(preset.augment(image, mask, s)[0], weaker.augment(image, mask, s)[0])
        for s in map(np.random.SeedSequence, range(8))
    ]
    assert any(differ)


def test_samples_follow_from_their_seed() -> None:
    image, mask = (smooth() * 255).astype(np.uint8), (smooth()[..., 0] * 4).astype(np.uint8)
    for preset in PRESETS:
        first, again, other = (preset.augment(image, mask, np.random.SeedSequence(seed))[0] for seed in (3, 3, 4))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


def test_draws_lie_within_the_strengths_and_reach_them() -> None:
    """The shift and the flip of a ramp, and the gain of a constant image, measured from the results of 300 seeds."""
    ramp = np.tile(np.arange(100, dtype=np.float32)[None, :, None], (3, 1, 1))
    mask, rights, flips = np.zeros((3, 100), np.uint8), [], 0
    for seed in map(np.random.SeedSequence, range(300)):
        shifted = only(shift=0.1).augment(ramp, mask, seed)[0]
        rights.append(50 - float(shifted[1, 50, 0]) if shifted[1, 50, 0] > 0 else 0.0)
        flips += bool(only(flip=0.25).augment(ramp, mask, seed)[0][1, 0, 0] == 99)
    assert 9 < max(rights) <= 10.1
    assert -10.1 <= min(rights) < -9
    assert 50 <= flips <= 105, "300 × 0.25, to four standard deviations"
    grey = np.full((8, 8, 3), 127, np.uint8)
    brightness = [
        int(only(brightness=0.2).augment(grey, mask[:1].repeat(8, 0)[:, :8], s)[0][0, 0, 0])
        for s in map(np.random.SeedSequence, range(300))
    ]
    assert 127 - 51 <= min(brightness) < 127 - 46
    assert 127 + 46 < max(brightness) <= 127 + 51


def test_colours_follow_their_formulas() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    expected = np.clip(1.3 * (image - 127.5) + 127.5 + 20, 0, 255)
    assert np.abs(recoloured(image, gain=1.3, offset=20, degrees=0) - expected).max() <= 0.5 + 1e-9
    grey = np.full((4, 4, 3), 90, np.uint8)
    assert np.array_equal(recoloured(grey, gain=1, offset=0, degrees=35), grey)
    assert np.abs(recoloured(image, gain=1, offset=0, degrees=120).astype(int) - image[..., [2, 0, 1]].astype(int)).max() <= 1
    noise = noisy(np.full((200, 200, 1), 128, np.uint8), 10, np.random.default_rng(0)).astype(float) - 128
    assert abs(noise.mean()) < 0.2
    assert abs(noise.std() - 10) < 0.2
    expected = ndimage.gaussian_filter(image.astype(float), (1.2, 1.2, 0), mode="mirror")
    assert np.abs(blurred(image, 1.2) - expected).max() < 2


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ({"flip": 1.5}, "flip is 1.5: expected 0, which is off, to 1"),
        ({"scale": 0.25}, "scale is 0.25: expected 1, which is off, or more, such as 1.25 for factors of 0.8 to 1.25"),
        ({"scale": float("inf")}, "scale is inf"),
        ({"noise": float("nan")}, "noise is nan: expected 0, which is off, or more"),
        ({"rotation": -1}, "rotation is -1: expected 0, which is off, to 180"),
    ],
)
def test_a_strength_out_of_its_range_is_refused(strengths: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LightAugmentation(**strengths)


@pytest.mark.parametrize("preset", PRESETS)
def test_strengths_are_recorded_and_the_check_passes(preset: Preset) -> None:
    data = SegmentationDataModule(Shapes(num_train=4, num_val=2, num_test=2, image_size=32), batch_size=2, augmentation=preset)
    data.check()
    assert data.identity()["augmentation"] == preset
    assert data.identity() != SegmentationDataModule(data.source, batch_size=2, augmentation=replace(preset, shift=0.01)).identity()
