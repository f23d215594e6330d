"""The contract of an augmentation: a step that changes the kind of sample is named, before and during training."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
import torch

from seglab.data import SegmentationDataModule, SegmentationDataset, SegmentationSource, Split
from seglab.data.augmentation.contract import fault_of
from seglab.data.augmentation.pipeline import pipeline_of
from seglab.data.augmentation.rehearsal import paths, rehearse
from seglab.sample import IGNORE, Sample

Array = Any


def flip() -> Any:
    return A.HorizontalFlip(p=0.5)


class Own(A.DualTransform):  # type: ignore[misc]
    """A user's own step, which leaves image and mask alone; subclasses change one of them."""

    def apply(self, img: Array, **params: Any) -> Array:
        return img

    def apply_to_mask(self, mask: Array, **params: Any) -> Array:
        return mask


class Rotated(Own):
    """Turns the mask by linear interpolation, as the image, and fills it with `fill`."""

    interpolation, fill = cv2.INTER_LINEAR, IGNORE

    def apply_to_mask(self, mask: Array, **params: Any) -> Array:
        matrix = cv2.getRotationMatrix2D((mask.shape[1] / 2, mask.shape[0] / 2), 20, 1)
        return cv2.warpAffine(mask, matrix, mask.shape[::-1], flags=self.interpolation, borderValue=self.fill)


class FilledWithClass0(Rotated):
    interpolation, fill = cv2.INTER_NEAREST, 0


class OneHot(Own):
    def apply_to_mask(self, mask: Array, **params: Any) -> Array:
        return np.eye(256, dtype=np.uint8)[mask]


class Int64(Own):
    def apply_to_mask(self, mask: Array, **params: Any) -> Array:
        return mask.astype(np.int64)


class Float(Own):
    def apply_to_mask(self, mask: Array, **params: Any) -> Array:
        return mask.astype(np.float32)


class Relabelled(Own):
    def apply_to_mask(self, mask: Array, **params: Any) -> Array:
        return np.where(mask == 1, 7, mask).astype(np.uint8)


class SmallMask(Own):
    def apply_to_mask(self, mask: Array, **params: Any) -> Array:
        return mask[::2, ::2]


class Unseeded(Own):
    def apply(self, img: Array, **params: Any) -> Array:
        return np.roll(img, int(np.random.randint(1, 10**6)) % (img.shape[1] - 1) + 1, axis=1)  # noqa: NPY002


class Broken(Own):
    def apply(self, img: Array, **params: Any) -> Array:
        raise RuntimeError("no such colour\nspace")


class NotANumber(Own):
    def apply(self, img: Array, **params: Any) -> Array:
        return np.full_like(img, np.nan)


class Tripled(Own):
    def apply(self, img: Array, **params: Any) -> Array:
        return img * 3


class Nothing(Own):
    def apply(self, img: Array, **params: Any) -> Array:
        return img[:0]

    def apply_to_mask(self, mask: Array, **params: Any) -> Array:
        return mask[:0]


def grey(img: Array, **params: Any) -> Array:
    return cv2.cvtColor(img, cv2.COLOR_RGB2GRAY)


def sample(dtype: str = "uint8", channels: int = 3) -> tuple[Array, Array]:
    """An image of blocks in random colours, and a mask of blocks of three classes and void."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (6, 8, channels)).repeat(8, 0).repeat(8, 1)
    image = {"uint8": blocks, "uint16": blocks * 257, "float32": blocks / 255}[dtype].astype(dtype)
    return image, np.array([0, 1, 2, IGNORE], np.uint8)[rng.integers(0, 4, (6, 8)).repeat(8, 0).repeat(8, 1)]


STEPS: list[tuple[str, Any, str]] = [
    ("uint8", A.Normalize(p=0.1), "step Normalize makes the image float32, which was uint8: leave it out, as mean and std of Segm"),
    ("uint8", A.ToFloat(), "step ToFloat makes the image float32, which was uint8"),
    ("uint16", A.Downscale(p=0.1), "step Downscale makes the image float32, which was uint16: leave it out, as images keep their dtype"),
    ("float32", A.FromFloat(), "step FromFloat makes the image uint8, which was float32"),
    ("float32", A.Normalize(), r"step Normalize makes the image's values -\d\S* to \S+, which were within 0 and 1: leave it out, as mean"),
    ("float32", NotANumber(), r"step NotANumber makes values of the image infinite or not a number \(NaN\): leave it out, or correct it"),
    ("uint8", A.ToTensorV2(), "step ToTensorV2 makes the image a Tensor, which was a NumPy array: leave it out, as batches become tensors"),
    ("uint8", A.ToGray(num_output_channels=1), r"step ToGray makes the image's shape \(48, 64, 1\), which was \(48, 64, 3\), with 3 ch"),
    (
        "uint8",
        A.Lambda(image=grey, p=1),
        r"step Lambda makes the image's shape \(48, 64, 1\), which was \(48, 64, 3\), with 3 channels last: keep",
    ),
    ("uint8", Nothing(), r"step Nothing makes the image's shape \(0, 64, 3\), without pixels"),
    ("uint8", OneHot(), r"step OneHot makes the mask uint8 of shape \(48, 64, 256\), which was uint8 of shape \(48, 64\): leave it out"),
    (
        "uint8",
        Int64(),
        r"step Int64 makes the mask int64 of shape \(48, 64\), which was uint8 of shape \(48, 64\): leave it out, as losses",
    ),
    ("uint8", Float(), "step Float makes the mask float32 of shape"),
    ("uint8", SmallMask(), r"step SmallMask makes the mask 24×32 and the image 48×64 \(rows × columns\), which had one size: give both"),
    ("uint8", Relabelled(), "step Relabelled makes label 7 in the mask, which had none of it: warp masks by the nearest pixel"),
    (
        "uint8",
        Rotated(),
        "step Rotated (makes labels .* in the mask, which had none of it|interpolates the labels of the mask): warp masks by",
    ),
    ("uint8", FilledWithClass0(), r"step FilledWithClass0 fills new pixels of the mask with label 0: fill them with 255 \(seglab.IGNORE\)"),
    ("uint8", A.Affine(rotate=(20, 20), mask_interpolation=cv2.INTER_LINEAR), "step Affine .*: warp masks by the nearest pixel"),
    ("uint8", Unseeded(), "step Unseeded gives another result for the same seed, so that no run can be repeated: draw random numbers from"),
    ("uint8", Broken(), r"step Broken fails with RuntimeError: no such colour space: correct it, or leave it out \(seen on here\)$"),
    ("uint8", A.Crop(), "step Crop fails with ValueError: Values for crop should be non negative"),
    ("uint8", A.Mosaic(), "step Mosaic fails with ValueError: Mosaic requires"),
    ("uint8", A.Resize(96, 96), "step Resize scales images of 48×64 to 96×96 .*, and evaluation does not: .* by --data.size 96,96"),
    ("uint8", A.LongestMaxSize(32), "step LongestMaxSize scales images of 48×64 to 24×32"),
    ("uint8", A.SmallestMaxSize(96), "step SmallestMaxSize scales images of 48×64 to 96×128"),
]


@pytest.mark.parametrize(("dtype", "step", "message"), STEPS, ids=[f"{type(step).__name__}-{dtype}" for dtype, step, _ in STEPS])
@pytest.mark.parametrize("place", ["alone", "first", "last", "alternative", "nested"])
def test_the_step_is_named_wherever_it_stands(dtype: str, step: Any, message: str, place: str) -> None:
    compose = {
        "alone": [step],
        "first": [step, A.HorizontalFlip(), A.VerticalFlip()],
        "last": [flip(), A.VerticalFlip(), step],
        "alternative": [flip(), A.OneOf([A.VerticalFlip(), A.SomeOf([A.Transpose(), step], n=1)], p=0.1)],
        "nested": [A.Sequential([flip(), A.Compose([step])], p=0.5), flip()],
    }[place]
    with pytest.raises(ValueError, match=message):
        rehearse(pipeline_of(lambda: A.Compose(compose)), *sample(dtype), "here")


class FlippedByChance(Own):
    def apply(self, img: Array, **params: Any) -> Array:
        return img[:, ::-1] if self.chance() < 0.5 else img

    def chance(self) -> float:
        return float(np.random.default_rng().random())


class FlippedByNumPy(FlippedByChance):
    def chance(self) -> float:
        return float(np.random.random())  # noqa: NPY002


class FlippedByPython(FlippedByChance):
    def chance(self) -> float:
        return random.random()


class FlippedByTorch(FlippedByChance):
    def chance(self) -> float:
        return torch.rand(()).item()


def flipped_by_chance(img: Array, **params: Any) -> Array:
    return FlippedByChance().apply(img)


@pytest.mark.parametrize(
    "step",
    [FlippedByChance(), FlippedByNumPy(), FlippedByPython(), FlippedByTorch(), A.Lambda(image=flipped_by_chance, p=1)],
    ids=["own generator", "numpy", "python", "torch", "lambda"],
)
def test_a_step_that_ignores_the_seed_is_found_although_each_result_is_likely(step: Any) -> None:
    def found() -> bool:
        try:
            rehearse(pipeline_of(lambda: A.Compose([step])), *sample(), "here")
        except ValueError as error:
            return "gives another result for the same seed" in str(error)
        return False

    assert sum(found() for _ in range(20)) >= 16  # each with 127 / 128


KEPT: list[tuple[str, list[Any]]] = [
    ("uint8", []),
    ("uint8", [flip(), A.Affine(rotate=(-30, 30)), A.ColorJitter(), A.GaussNoise()]),
    ("uint8", [A.ToFloat(), A.FromFloat(dtype="uint8")]),
    ("uint8", [A.RandomCrop(16, 16), A.Resize(48, 64)]),
    ("uint8", [A.Resize(48, 64), A.RandomCrop(16, 16)]),
    ("uint8", [A.RandomScale(), A.PadIfNeeded(96, 96), A.RandomCrop(32, 32)]),
    ("uint8", [A.OneOf([A.RandomCrop(40, 40), A.CenterCrop(16, 16)])]),
    ("uint8", [A.RandomResizedCrop((32, 32))]),
    ("uint8", [A.SelectiveChannelTransform([A.GaussianBlur()], channels=[0])]),
    ("uint8", [A.ToGray(num_output_channels=3)]),
    ("uint8", [A.CoarseDropout(fill_mask=0)]),
    ("uint16", [flip(), A.Affine(), A.ElasticTransform()]),
    ("float32", [flip(), A.Affine(interpolation=cv2.INTER_CUBIC), A.Rotate(interpolation=cv2.INTER_LANCZOS4)]),
]


@pytest.mark.parametrize(("dtype", "steps"), KEPT)
def test_a_pipeline_that_keeps_the_kind_of_the_sample_is_accepted(dtype: str, steps: list[Any]) -> None:
    rehearse(pipeline_of(lambda: A.Compose(steps)), *sample(dtype), "here")


def test_floats_beyond_1_are_not_held_to_a_range_that_they_never_had() -> None:
    image, mask = sample("float32")
    rehearse(pipeline_of(lambda: A.Compose([Tripled()])), 10 * image, mask, "here")


def test_every_step_is_on_a_way_and_ways_do_not_multiply() -> None:
    many = A.Compose(
        [A.OneOf([A.VerticalFlip(), A.Transpose()]), flip(), A.SomeOf([A.D4(), A.NoOp(), A.OneOf([A.Rotate(), A.Affine()])], 2)]
    )
    names = [[step.name for step in path] for path in paths(pipeline_of(lambda: many))]
    assert names[0] == ["VerticalFlip", "HorizontalFlip", "D4"]
    assert len(names) == 1 + 1 + 3
    assert {name for path in names for name in path} == {"VerticalFlip", "Transpose", "HorizontalFlip", "D4", "NoOp", "Rotate", "Affine"}


def test_rehearsing_leaves_the_pipeline_as_it_was() -> None:
    compose = A.Compose([A.HorizontalFlip(p=0.25), A.OneOf([A.VerticalFlip(p=0.5)], p=0.75)])
    before = A.to_dict(compose)
    rehearse(pipeline_of(lambda: compose), *sample(), "here")
    assert A.to_dict(compose) == before


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: A.Compose([flip()], seed=3), r"Compose\(seed=3\), but the seed of the run determines its random numbers: leave out seed"),
        (
            lambda: A.Compose([flip()], bbox_params=A.BboxParams("coco")),
            "Compose with bbox_params, but samples have an image and a mask only",
        ),
        (
            lambda: A.Compose([flip()], keypoint_params=A.KeypointParams("xy")),
            "Compose with keypoint_params, .*: leave out keypoint_params",
        ),
        (lambda: A.ReplayCompose([flip()]), "a ReplayCompose, which records each call, and nothing reads the record: make a Compose"),
        (lambda: A.OneOf([flip()]), r"makes a OneOf; expected an albumentations.Compose: put it into one, as in A.Compose\(\[OneOf"),
        (lambda: flip(), "makes a HorizontalFlip; expected an albumentations.Compose"),
        (lambda: None, "returned None; expected an albumentations.Compose; does the function lack a return"),
        (lambda: [flip()], "returned a list; expected an albumentations.Compose$"),
    ],
)
def test_a_pipeline_that_would_not_work_as_it_seems_to_is_refused(made: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline_of(made)


@pytest.mark.parametrize("given", [flip(), A.Compose([flip()]), A.OneOf([flip()])])
def test_a_pipeline_in_place_of_a_function_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=f"augmentation is a {type(given).__name__} itself; expected a function that makes the pipeline"):
        SegmentationDataModule(Source(), augmentation=given)


@dataclass(frozen=True)
class Source(SegmentationSource):
    """Eight samples, of which the last alone has class 1."""

    class_names: tuple[str, ...] = ("a", "b", "c")

    def split(self, name: Split) -> SegmentationDataset:
        return Samples()


class Samples:
    class_names, num_classes = ("a", "b", "c"), 3

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Sample:
        image, mask = sample()
        mask = np.where(mask == 1, 1 if index == 7 else 0, mask).astype(np.uint8)
        return Sample(torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask), f"sample {index}")


def test_the_check_tries_the_augmentation_before_a_training() -> None:
    data = SegmentationDataModule(Source(), batch_size=2, num_workers=0, augmentation=lambda: A.Compose([flip(), A.Normalize(p=0.01)]))
    with pytest.raises(ValueError, match=r"augmentation step Normalize makes the image float32, .* \(seen on sample 1\)"):
        data.check()
    SegmentationDataModule(Source(), augmentation=None).check()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_names_what_no_sample_of_the_check_has_shown(workers: int) -> None:
    """Class 1 is in one sample only, and the step changes that class only."""
    data = SegmentationDataModule(Source(), batch_size=2, num_workers=workers, augmentation=lambda: A.Compose([flip(), Relabelled(p=1)]))
    data.check()
    loader = data.train_dataloader()
    with pytest.raises(
        ValueError, match=r"^augmentation step Relabelled makes label 7 in the mask, which had none of it: .* \(seen on sample 7\)$"
    ):
        list(loader)
    if workers:
        loader._iterator._shutdown_workers()  # type: ignore[union-attr]


def test_a_step_that_writes_into_its_input_changes_no_later_epoch() -> None:
    class InPlace(Own):
        def apply(self, img: Array, **params: Any) -> Array:
            img[:] = 0
            return img

        def apply_to_mask(self, mask: Array, **params: Any) -> Array:
            mask[:] = IGNORE
            return mask

    data = SegmentationDataModule(Source(), batch_size=8, num_workers=0, cache=True, augmentation=lambda: A.Compose([InPlace(p=1)]))
    (batch,) = data.train_dataloader()
    assert batch.image.eq(0).all()
    assert batch.mask.eq(IGNORE).all()
    plain = SegmentationDataModule(Source(), batch_size=8, num_workers=0, augmentation=None)
    assert all(torch.equal(a.image, b.image) for a, b in zip(data.test_dataloader(), plain.test_dataloader(), strict=True))
    cached = data._samples("train")
    assert all(torch.equal(cached[i].image, Samples()[i].image) and torch.equal(cached[i].mask, Samples()[i].mask) for i in range(8))


def test_labels_are_looked_for_in_some_rows_and_then_in_all() -> None:
    image, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    mask[1] = 3  # in no row of every fourth
    moved = np.roll(mask, -1, axis=0)
    assert fault_of((image, mask), image, moved, every=4) is None
    moved[4] = 5
    assert "label 5" in str(fault_of((image, mask), image, moved, every=4))
    moved[4], moved[6] = 0, 5
    assert fault_of((image, mask), image, moved, every=4) is None
    assert "label 5" in str(fault_of((image, mask), image, moved))
