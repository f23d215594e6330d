"""From data set to batch: sizes, padding, cache, identity, augmentation, flags."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jsonargparse import ArgumentParser, lazy_instance

from seglab.data import (
    CamVid,
    ImageMaskFolder,
    SegmentationDataModule,
    SegmentationDataset,
    Shapes,
    Split,
    default_augmentation,
    default_palette,
)
from seglab.data.augmentation.augment import ignore_outside, transform
from seglab.data.loading.loader import collate
from seglab.data.loading.pipeline import resize_image, resize_mask
from seglab.sample import IGNORE, Sample


class Blobs:
    """Images of different sizes, channels and types."""

    class_names = ("a", "b")
    num_classes = 2

    def __init__(self, channels: int = 3, dtype: torch.dtype = torch.uint8) -> None:
        self.channels, self.dtype, self.reads = channels, dtype, 0

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Sample:
        self.reads += 1
        rows, columns = 16 + index, 20 - index
        image = torch.arange(self.channels * rows * columns).reshape(self.channels, rows, columns) % 200
        return Sample(image.to(self.dtype), torch.full((rows, columns), index % 2, dtype=torch.uint8), f"blob {index}")


class BlobModule(SegmentationDataModule):
    class_names = Blobs.class_names

    def __init__(self, blobs: Blobs, size: tuple[int, int] | None = None, augment: bool = True, cache: bool = False) -> None:
        super().__init__(batch_size=4, size=size, augment=augment, cache=cache, num_workers=0)
        self.blobs = blobs

    def dataset(self, split: Split) -> SegmentationDataset:
        return self.blobs


def test_batches_are_padded_at_the_bottom_and_the_right() -> None:
    batch = next(iter(BlobModule(Blobs(), augment=False).val_dataloader()))
    assert batch.image.shape == (4, 3, 19, 20)
    assert batch.mask.shape == (4, 19, 20)
    assert batch.name == ("blob 0", "blob 1", "blob 2", "blob 3")
    assert batch.image_size.tolist() == batch.mask_size.tolist() == [[16, 20], [17, 19], [18, 18], [19, 17]]
    for i, (rows, columns) in enumerate(batch.mask_size.tolist()):
        assert torch.equal(batch.image[i, :, :rows, :columns], Blobs()[i].image)
        assert batch.image[i, :, rows:].eq(0).all()
        assert batch.image[i, :, :, columns:].eq(0).all()
        assert batch.mask[i, :rows, :columns].eq(i % 2).all()
        assert batch.mask[i, rows:].eq(IGNORE).all()
        assert batch.mask[i, :, columns:].eq(IGNORE).all()


def test_images_are_resized_and_masks_in_training_alone() -> None:
    data = BlobModule(Blobs(), size=(8, 12))
    train, test = next(iter(data.train_dataloader())), next(iter(data.test_dataloader()))
    assert (train.image.shape, train.mask.shape) == ((4, 3, 8, 12), (4, 8, 12))
    assert train.mask_size.tolist() == train.image_size.tolist() == [[8, 12]] * 4
    assert (test.image.shape, test.mask.shape) == ((4, 3, 8, 12), (4, 19, 20))
    assert test.mask_size.tolist() == [[16, 20], [17, 19], [18, 18], [19, 17]]


@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, torch.uint8), (3, torch.uint8), (1, torch.uint16), (6, torch.uint16), (7, torch.float32)]
)
def test_any_channels_and_types_train_and_colours_change_in_rgb_alone(channels: int, dtype: torch.dtype) -> None:
    data = BlobModule(Blobs(channels, dtype), size=(24, 24))
    loader = data.train_dataloader()
    for epoch in range(4):
        loader.sampler.set_epoch(epoch)
        batch = next(iter(loader))
        assert batch.image.shape == (4, channels, 24, 24)
        assert batch.image.dtype == dtype
        assert set(batch.mask.unique().tolist()) <= {0, 1, IGNORE}


@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12))), st.integers(1, 20), st.integers(1, 20))
def test_resizing_invents_no_label_and_no_value(mask: Any, rows: int, columns: int) -> None:
    assert set(np.unique(resize_mask(mask, (rows, columns)))) <= set(np.unique(mask))
    image = resize_image(np.stack([mask] * 5, axis=-1), (rows, columns))
    assert image.shape == (rows, columns, 5)
    assert image.min() >= mask.min()
    assert image.max() <= mask.max()


def test_the_nearest_label_is_that_at_the_centre() -> None:
    assert resize_mask(np.arange(9, dtype=np.uint8).reshape(3, 3), (1, 1)).tolist() == [[4]]


def test_the_cache_reads_once_for_all_seeds_and_changes_nothing() -> None:
    blobs, plain = Blobs(), BlobModule(Blobs(), size=(8, 8))
    data = BlobModule(blobs, size=(8, 8), cache=True)
    for seed in (0, 1):
        for a, b in zip(data.with_seed(seed).train_dataloader(), plain.with_seed(seed).train_dataloader(), strict=True):
            assert torch.equal(a.image, b.image)
            assert torch.equal(a.mask, b.mask)
    assert blobs.reads == 4
    next(iter(data.with_seed(2).val_dataloader()))
    assert blobs.reads == 8, "masks of evaluation are others"


def test_augmentation_can_be_switched_off_and_replaced() -> None:
    class Flipped(BlobModule):
        def augmentation(self) -> A.Compose:
            return A.Compose([A.HorizontalFlip(p=1), A.Pad(2, p=1)])

    names = {
        name: image for b in BlobModule(Blobs(), augment=False).train_dataloader() for name, image in zip(b.name, b.image, strict=True)
    }
    assert torch.equal(names["blob 0"][:, :16, :20], Blobs()[0].image)
    batch = next(iter(Flipped(Blobs()).train_dataloader()))
    first = batch.name.index("blob 0")
    assert batch.image_size[first].tolist() == [20, 24]
    assert torch.equal(batch.image[first, :, 2:18, 2:22], Blobs()[0].image.flip(-1))
    assert batch.mask[first, :2].eq(IGNORE).all(), "what a user's pipeline pads is ignored too"


def test_augmentations_follow_from_their_seed_and_steps_are_independent() -> None:
    image, mask = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3), np.array([[0, 1], [2, 3]], np.uint8)
    flips = A.Compose([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)])
    outcomes = [transform(image, mask, flips, np.random.SeedSequence([0, i]))[1].tobytes() for i in range(400)]
    assert outcomes == [transform(image, mask, flips, np.random.SeedSequence([0, i]))[1].tobytes() for i in range(400)]
    counts = [outcomes.count(flipped.tobytes()) for flipped in (mask, mask[:, ::-1], mask[::-1], mask[::-1, ::-1])]
    assert sum(counts) == 400
    assert min(counts) > 60


def test_image_and_mask_move_together_and_the_outside_is_ignored() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 12:24] = 1
    image = np.repeat(mask[..., None] * np.float32(1), 3, axis=-1) + 1
    compose = ignore_outside(default_augmentation())
    for seed in range(30):
        moved, labels = transform(image, mask, compose, np.random.SeedSequence(seed))
        inside = labels != IGNORE
        agree = (moved[..., 0] > 1.5) == (labels == 1)
        assert agree[inside].mean() > 0.97
        assert moved[~inside].max(initial=0) <= 1


def test_identity_is_plain_and_wherever_the_data_lie(folder: Path, tmp_path: Path) -> None:
    a = ImageMaskFolder(folder, num_classes=3, size=(8, 8))
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    b = ImageMaskFolder(str(moved), num_classes=3, size=(8, 8), num_workers=2, cache=True).with_seed(7)
    assert a.identity() == b.identity() == json.loads(json.dumps(a.identity()))
    assert a.identity()["class"] == "seglab.data.sources.folder.ImageMaskFolder"
    assert a.identity()["splits"]["train"]["samples"] == 3
    others = [ImageMaskFolder(folder, num_classes=3, size=(8, 16)), ImageMaskFolder(folder, num_classes=4, size=(8, 8))]
    others += [ImageMaskFolder(folder, num_classes=3, size=(8, 8), augment=False)]
    with (moved / "val" / "masks" / "0.png").open("ab") as file:
        file.write(b"x")
    for other in (*others, b):
        assert other.identity() != a.identity()
    assert ImageMaskFolder(moved, num_classes=3, size=(8, 8)).identity()["splits"]["train"] == a.identity()["splits"]["train"]


def test_an_argument_that_is_not_kept_is_an_error() -> None:
    class Forgetful(Shapes):
        def __init__(self, difficulty: int = 1) -> None:
            super().__init__()

    with pytest.raises(ValueError, match=r"Forgetful takes 'difficulty' but keeps no attribute .* write self.difficulty = difficulty"):
        Forgetful().identity()


def broken_mask(sample: Sample) -> Sample:
    return sample._replace(mask=sample.mask.long())


def broken_label(sample: Sample) -> Sample:
    return sample._replace(mask=sample.mask + 2)


@pytest.mark.parametrize(
    ("damage", "message"),
    [(broken_mask, "blob 0: image .* a mask .* of torch.uint8"), (broken_label, "blob 0: label 2, the classes are 0…1")],
)
def test_check_holds_a_users_data_set_to_the_contract(damage: Callable[[Sample], Sample], message: str) -> None:
    class Bad(Blobs):
        def __getitem__(self, index: int) -> Sample:
            return damage(super().__getitem__(index))

    with pytest.raises(ValueError, match=message):
        BlobModule(Bad()).check()


def test_check_wants_one_number_of_classes() -> None:
    data = BlobModule(Blobs())
    data.class_names = ("a", "b", "c")  # type: ignore[assignment]  # one name too many
    with pytest.raises(ValueError, match="BlobModule names 3 classes, its data set 2"):
        data.check()


def test_palettes_start_like_vocs_and_repeat_nothing() -> None:
    palette = default_palette(255)
    assert palette[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert len(np.unique(palette, axis=0)) == 255


def test_collating_and_pickling_keep_everything() -> None:
    batch = collate([Blobs()[0]])
    assert torch.equal(batch.image[0], Blobs()[0].image)
    data = pickle.loads(pickle.dumps(Shapes(num_train=4).train_dataloader().dataset))
    assert len(data) == 4


DEFAULT = lazy_instance(Shapes)


def parser() -> ArgumentParser:
    def study(data: SegmentationDataModule = DEFAULT, epochs: int = 3) -> SegmentationDataModule:
        return data

    made = ArgumentParser(exit_on_error=False)
    made.add_function_arguments(study)
    return made


def test_modules_are_built_from_flags(folder: Path) -> None:
    flags = ["--data", "ImageMaskFolder", "--data.root", str(folder), "--data.num_classes", "3", "--data.size", "[4,6]"]
    data = parser().instantiate(parser().parse_args(flags)).data
    assert isinstance(data, ImageMaskFolder)
    assert data.size == (4, 6)
    default = parser().instantiate(parser().parse_args(["--data.num_train", "7"])).data
    assert isinstance(default, Shapes)
    assert default.num_train == 7
    assert {CamVid, ImageMaskFolder, Shapes} <= set(SegmentationDataModule.__subclasses__())


def test_a_modules_flags_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--data.help", "CamVid"])
    text = " ".join(capsys.readouterr().out.split())
    assert "train_fraction" in text
    assert "evenly spread over each drive" in text


def test_a_lazy_default_is_the_same_data() -> None:
    """An experiment's default, when its study function is called from Python."""
    assert lazy_instance(Shapes, num_train=3).identity() == Shapes(num_train=3).identity()
