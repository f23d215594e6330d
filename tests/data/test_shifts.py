"""Shifted test sets: each corruption against something independent, and against order, batches, workers and dtypes."""

import colorsys
import dataclasses
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from seglab import (
    JPEG,
    Brightness,
    Corruption,
    DefocusBlur,
    GaussianNoise,
    ImageMaskFolder,
    OtherDomain,
    SegmentationDataModule,
    Shapes,
    Shift,
    corruptions,
)
from seglab.data.arrays import Array
from seglab.data.contents import Format
from seglab.data.shifts.check import check_shifts
from seglab.data.shifts.corruptions import NAMED, disk
from seglab.data.shifts.shift import Shifted
from seglab.sample import Sample
from tests.data.conftest import write_folder

KINDS = sorted(NAMED)
SEVERITIES = (1, 2, 3, 4, 5)
RGB8 = Format(3, torch.uint8)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def scene(channels: int = 3, dtype: Any = np.uint8) -> Array:
    """An image of drawn shapes, (64,80,channels), over the full range of its dtype."""
    shapes = Shapes(num_train=2, num_val=1, num_test=1, image_size=80, num_shapes=5).split("test")[0].image.permute(1, 2, 0).numpy()[:64]
    unit = np.concatenate([shapes, shapes[..., ::-1]], axis=-1)[..., :channels].astype(np.float64) / 255
    full = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
    return np.asarray((np.rint(unit * full) if full > 1 else unit).astype(dtype))


def psnr(changed: Array, image: Array) -> float:
    """Peak signal-to-noise ratio in decibels."""
    full = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(image.dtype, 1)
    return float(-10 * np.log10(np.mean(((changed.astype(np.float64) - image) / full) ** 2)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_an_image_stays_and_each_severity_loses_more(kind: str, channels: int, dtype: Any) -> None:
    image = scene(channels, dtype)
    before = image.copy()
    found = [NAMED[kind](severity).apply(image, rng()) for severity in SEVERITIES]
    assert all(changed.shape == image.shape and changed.dtype == image.dtype for changed in found)
    ratios = [psnr(changed, image) for changed in found]
    assert ratios == sorted(ratios, reverse=True)
    assert len(set(ratios)) == 5
    assert np.array_equal(image, before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_has_the_same_corruption_in_every_dtype(kind: str) -> None:
    """The dtypes agree to half a step of 8 bits, by which their own rounding differs.

    JPEG amplifies no difference, because both become the same 8 bits.
    """
    eight = scene()
    unit = eight.astype(np.float32) / 255
    severe = NAMED[kind](5)
    assert np.abs(severe.apply(unit, rng()) - severe.apply(eight, rng()).astype(np.float32) / 255).max() <= 0.5001 / 255


@pytest.mark.parametrize(("severity", "deviation"), list(zip(SEVERITIES, (0.08, 0.12, 0.18, 0.26, 0.38), strict=True)))
def test_noise_has_the_published_deviation(severity: int, deviation: float) -> None:
    """Over 3·512² values the standard error of the deviation is a thousandth of it. `degrade` is not clipped."""
    noise = GaussianNoise(severity).degrade(np.full((512, 512, 3), 0.5, np.float32), rng()) - 0.5
    assert float(noise.std()) == pytest.approx(deviation, rel=0.005)
    assert abs(float(noise.mean())) < 0.005 * deviation + 5 * deviation / math.sqrt(noise.size)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.01


def test_brightness_adds_to_the_value_of_hsv() -> None:
    """Against `colorsys`, pixel by pixel, black, grey and saturated pixels among them."""
    colours = np.array([[[r, g, b] for g in (0, 0.3, 1) for b in (0, 0.3, 0.8)] for r in (0, 0.3, 0.6, 1)], np.float32)
    for severity, added in zip(SEVERITIES, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True):
        found = Brightness(severity).apply(colours, rng())
        for pixel, brighter in zip(colours.reshape(-1, 3).tolist(), found.reshape(-1, 3).tolist(), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
            assert brighter == pytest.approx(colorsys.hsv_to_rgb(hue, saturation, min(value + added, 1)), abs=1e-6)


@pytest.mark.parametrize(("severity", "radius"), list(zip(SEVERITIES, (3, 4, 6, 8, 10), strict=True)))
def test_a_point_becomes_a_disk(severity: int, radius: int) -> None:
    image = np.zeros((41, 41, 1), np.float32)
    image[20, 20] = 1
    spread = DefocusBlur(severity).degrade(image, rng())[..., 0].astype(np.float64)
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert np.allclose(spread, spread.T, atol=1e-7)
    rows, columns = np.mgrid[-20:21, -20:21]
    distance = np.hypot(rows, columns)
    assert spread[distance <= radius - 2] == pytest.approx(spread[20, 20], rel=1e-4)
    assert np.abs(spread[distance > radius + 3]).max() < 1e-7
    second = float((spread * distance**2).sum())
    assert second == pytest.approx(radius**2 / 2, rel=0.12), "the second moment of a disk is r²/2"


def test_the_blur_is_a_convolution_with_mirrored_borders() -> None:
    image = scene(5, np.float32)
    found = DefocusBlur(4).degrade(image, rng())
    kernel = disk(8, 0.5)
    for channel in range(5):
        assert found[..., channel] == pytest.approx(ndimage.convolve(image[..., channel], kernel, mode="mirror"), abs=1e-5)


@pytest.mark.parametrize(("severity", "quality"), list(zip(SEVERITIES, (25, 18, 15, 10, 7), strict=True)))
def test_jpeg_of_colour_and_of_other_channels(severity: int, quality: int) -> None:
    def stored(pixels: Array) -> Array:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        return np.array(Image.open(file))

    image = scene(5)
    assert np.array_equal(JPEG(severity).apply(image[..., :3].copy(), rng()), stored(np.ascontiguousarray(image[..., :3])))
    channels = [stored(np.ascontiguousarray(image[..., channel])) for channel in range(5)]
    assert np.array_equal(JPEG(severity).apply(image, rng()), np.stack(channels, -1))


@pytest.mark.parametrize("severity", [0, 6, 2.5, "3"])
def test_a_severity_is_one_of_five(severity: Any) -> None:
    with pytest.raises(ValueError, match=r"severity is .*: expected a whole number from 1 to 5"):
        GaussianNoise(severity)


def shapes(**settings: Any) -> SegmentationDataModule:
    source = Shapes(num_train=4, num_val=2, num_test=7, image_size=48, num_shapes=3)
    return SegmentationDataModule(source, **{"batch_size": 3, "num_workers": 0, **settings})


def images(data: SegmentationDataModule, shift: Shift) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for batch in data.shift_dataloader(shift):
        for name, image, mask in zip(batch.name, batch.image, batch.mask, strict=True):
            assert name not in found
            found[name] = image.numpy().tobytes() + mask.numpy().tobytes()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_depends_on_its_index_and_the_severity_alone(kind: str) -> None:
    """Not on the batch, the workers, the seed of the run, a cache, what was read before, or global random numbers."""
    for severity in (1, 4):
        shift = NAMED[kind](severity)
        expected = images(shapes(), shift)
        assert len(expected) == 7
        for other in (shapes(batch_size=7), shapes(batch_size=1), shapes(cache=True), shapes().with_seed(5)):
            torch.manual_seed(1)
            np.random.seed(1)  # noqa: NPY002 - a corruption that drew from it would differ
            assert images(other, shift) == expected
        alone = shapes().shifted(shift)[5]
        assert expected[alone.name] == alone.image.numpy().tobytes() + alone.mask.numpy().tobytes()
    assert images(shapes(), NAMED[kind](1)) != images(shapes(), NAMED[kind](4))


def test_workers_change_no_image() -> None:
    for kind in KINDS:
        assert images(shapes(num_workers=2), NAMED[kind](2)) == images(shapes(), NAMED[kind](2))


def test_masks_stay_and_images_are_corrupted_at_the_size_that_the_network_sees() -> None:
    data = shapes(size=(24, 32))
    clean, noisy = next(iter(data.test_dataloader())), next(iter(data.shift_dataloader(GaussianNoise(1))))
    assert noisy.image.shape == clean.image.shape == (3, 3, 24, 32)
    assert torch.equal(noisy.mask, clean.mask)
    assert noisy.mask.shape == (3, 48, 48)
    differences = (noisy.image.float() - clean.image.float())[(clean.image > 80) & (clean.image < 175)] / 255
    assert float(differences.std()) == pytest.approx(0.08, rel=0.03), "averaged by resizing, the noise would be less"


def test_a_cached_image_is_not_changed() -> None:
    data = shapes(cache=True)
    clean = [batch.image for batch in data.test_dataloader()]
    list(data.shift_dataloader(Brightness(5)))
    assert all(torch.equal(a, b.image) for a, b in zip(clean, data.test_dataloader(), strict=True))


def test_corruptions_by_name() -> None:
    assert corruptions(["blur-2", "noise"]) == {
        "blur-2": DefocusBlur(2),
        **{f"noise-{level}": GaussianNoise(level) for level in SEVERITIES},
    }
    for names, message in (
        (["nose"], r"no corruption 'nose' \(did you mean noise\?\)"),
        (["noise-6"], "no corruption 'noise-6'; expected noise, blur"),
        (["noise-"], "no corruption"),
        (["noise-3", "noise"], "noise-3 is named twice"),
    ):
        with pytest.raises(ValueError, match=message):
            corruptions(names)


@dataclass(frozen=True)
class Floats:
    """Float images, one of them beyond 1."""

    largest: float

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        return Sample(torch.full((1, 4, 4), self.largest if index == 2 else 0.5), torch.zeros(4, 4, dtype=torch.uint8), f"{index}")


def test_float_images_of_another_range_are_refused() -> None:
    GaussianNoise(1).check_images(Floats(1.0))
    with pytest.raises(ValueError, match=r"2: the image has values from 1\.5 to 1\.5, .* for values from 0 to 1"):
        GaussianNoise(1).check_images(Floats(1.5))


def test_another_domain_is_its_test_split_at_the_size_of_the_study() -> None:
    other = Shapes(num_train=2, num_val=2, num_test=5, image_size=64, num_shapes=3)
    data = shapes(size=(24, 24))
    shift = OtherDomain(other)
    check_shifts({"other": shift}, data, RGB8)
    seen = list(data.shift_dataloader(shift))
    assert sum(len(batch.name) for batch in seen) == 5
    assert seen[0].image.shape[-2:] == (24, 24)
    assert seen[0].mask.shape[-2:] == (64, 64)
    assert torch.equal(seen[0].mask[0], other.split("test")[0].mask)


def test_a_domain_of_other_classes_or_other_images_is_refused(tmp_path: Path) -> None:
    folder = ImageMaskFolder(write_folder(tmp_path / "a"), num_classes=3, class_names=("sky", "road", "car"))
    data = SegmentationDataModule(folder, num_workers=0)
    swapped = dataclasses.replace(folder, class_names=("sky", "car", "road"))
    more = dataclasses.replace(folder, num_classes=4, class_names=("sky", "road", "car", "tree"))
    for other, said in (
        (swapped, r"shift night: ImageMaskFolder has other classes .*: label 1 is 'car' there and 'road' here"),
        (more, r"label 3 is 'tree' there and no class here \(4 and 3 classes\)"),
    ):
        with pytest.raises(ValueError, match=said):
            check_shifts({"night": OtherDomain(other)}, data, RGB8)
    with pytest.raises(ValueError, match=r"shift night: .*the image has 3 channels of uint8, the ones before it 1 channel of uint8"):
        check_shifts({"night": OtherDomain(folder)}, data, Format(1, torch.uint8))


@dataclass(frozen=True)
class Wrong(Shift):
    kind: str

    def apply(self, image: Array, rng: np.random.Generator) -> Array:
        found: Any = {"shape": image[1:], "dtype": image.astype(np.float64), "none": None}[self.kind]
        return found  # type: ignore[no-any-return]


@pytest.mark.parametrize(("kind", "said"), [("shape", r"\(47, 48, 3\) uint8"), ("dtype", "float64"), ("none", "a NoneType")])
def test_a_shift_that_gives_another_kind_of_image_is_refused(kind: str, said: str) -> None:
    with pytest.raises(ValueError, match=rf"shift own: Wrong.apply returned .*{said} for .*; expected .*\(48, 48, 3\) uint8"):
        check_shifts({"own": Wrong(kind)}, shapes(), RGB8)


@dataclass(frozen=True)
class Darker(Corruption):
    """A corruption of one's own."""

    def degrade(self, image: Array, rng: np.random.Generator) -> Array:
        return np.asarray(image * np.float32(1 - self.severity / 10))


def test_a_corruption_of_ones_own() -> None:
    sample = Shifted(shapes().used("test"), Darker(5))[0]
    assert torch.equal(sample.image, (shapes().used("test")[0].image.float() * 0.5).round().byte())
