"""From data set to batch: sizes, padding, cache, identity, augmentation."""

import pickle
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seglab.data import (
    ImageMaskFolder,
    SegmentationDataModule,
    SegmentationDataset,
    SegmentationSource,
    Shapes,
    Split,
    default_augmentation,
    default_palette,
)
from seglab.data.augmentation.augment import ignore_outside, transform
from seglab.data.loading.loader import collate
from seglab.data.loading.pipeline import resize_mask
from seglab.resizing import resize_image
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


@dataclass(frozen=True)
class BlobSource(SegmentationSource):
    blobs: Blobs
    class_names: tuple[str, ...] = Blobs.class_names

    def split(self, name: Split) -> SegmentationDataset:
        return self.blobs


def of_blobs(
    blobs: Blobs,
    size: tuple[int, int] | None = None,
    augmentation: Callable[[], A.Compose] | None = default_augmentation,
    cache: bool | None = None,
) -> SegmentationDataModule:
    return SegmentationDataModule(BlobSource(blobs), batch_size=4, size=size, augmentation=augmentation, cache=cache, num_workers=0)


def test_batches_are_padded_at_the_bottom_and_the_right() -> None:
    batch = next(iter(of_blobs(Blobs(), augmentation=None).val_dataloader()))
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
    data = of_blobs(Blobs(), size=(8, 12))
    train, test = next(iter(data.train_dataloader())), next(iter(data.test_dataloader()))
    assert (train.image.shape, train.mask.shape) == ((4, 3, 8, 12), (4, 8, 12))
    assert train.mask_size.tolist() == train.image_size.tolist() == [[8, 12]] * 4
    assert (test.image.shape, test.mask.shape) == ((4, 3, 8, 12), (4, 19, 20))
    assert test.mask_size.tolist() == [[16, 20], [17, 19], [18, 18], [19, 17]]


@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, torch.uint8), (3, torch.uint8), (1, torch.uint16), (6, torch.uint16), (7, torch.float32)]
)
def test_any_channels_and_types_train_and_colours_change_in_rgb_alone(channels: int, dtype: torch.dtype) -> None:
    data = of_blobs(Blobs(channels, dtype), size=(24, 24))
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
    blobs, plain = Blobs(), of_blobs(Blobs(), size=(8, 8))
    data = of_blobs(blobs, size=(8, 8), cache=True)
    for seed in (0, 1):
        for a, b in zip(data.with_seed(seed).train_dataloader(), plain.with_seed(seed).train_dataloader(), strict=True):
            assert torch.equal(a.image, b.image)
            assert torch.equal(a.mask, b.mask)
    assert blobs.reads == 4
    next(iter(data.with_seed(2).val_dataloader()))
    assert blobs.reads == 8, "masks of evaluation are others"


def test_augmentation_can_be_switched_off_and_replaced() -> None:
    def flipped() -> A.Compose:
        return A.Compose([A.HorizontalFlip(p=1), A.Pad(2, p=1)])

    names = {
        name: image for b in of_blobs(Blobs(), augmentation=None).train_dataloader() for name, image in zip(b.name, b.image, strict=True)
    }
    assert torch.equal(names["blob 0"][:, :16, :20], Blobs()[0].image)
    batch = next(iter(of_blobs(Blobs(), augmentation=flipped).train_dataloader()))
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


def of_folder(root: Path | str, num_classes: int = 3, **loading: Any) -> SegmentationDataModule:
    return SegmentationDataModule(ImageMaskFolder(root, num_classes), **{"size": (8, 8), **loading})  # type: ignore[arg-type]


def beside_the_source(data: SegmentationDataModule) -> dict[str, Any]:
    return {name: value for name, value in data.identity().items() if name != "source"}


def test_identity_is_the_source_the_loading_and_the_content(folder: Path) -> None:
    a = of_folder(folder)
    loading = {"batch_size": 8, "size": (8, 8), "augmentation": default_augmentation, "train_fraction": 1.0}
    loading |= {"balanced_images": 0.0, "crop": None, "balanced_crops": 0.0}
    told = a.identity()
    assert {name: value for name, value in told.items() if name not in ("source", "splits")} == loading
    assert told["source"] is a.source
    assert told["splits"]["train"]["samples"] == 3
    others = [of_folder(folder, size=(8, 16)), of_folder(folder, 4), of_folder(folder, augmentation=None)]
    others += [of_folder(folder, batch_size=2), of_folder(folder, crop=(4, 4)), of_folder(folder, balanced_images=1)]
    for other in others:
        assert other.identity() != told


def test_identity_is_that_of_the_files_wherever_they_lie_and_however_they_are_read(folder: Path, tmp_path: Path) -> None:
    a = of_folder(folder)
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    b = of_folder(str(moved), num_workers=2, cache=True).with_seed(7)
    assert beside_the_source(a) == beside_the_source(b)
    assert isinstance(a.source, ImageMaskFolder)
    assert b.source == replace(a.source, root=moved), "the root of a string is a path, which is no setting"
    with (moved / "val" / "masks" / "0.png").open("ab") as file:
        file.write(b"x")
    assert beside_the_source(b) != beside_the_source(a)
    assert b.identity()["splits"]["train"] == a.identity()["splits"]["train"]


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
        of_blobs(Bad()).check()


def test_check_wants_one_number_of_classes() -> None:
    data = SegmentationDataModule(BlobSource(Blobs(), ("a", "b", "c")))
    with pytest.raises(ValueError, match="BlobSource names 3 classes, its data set 2"):
        data.check()


def test_palettes_start_like_vocs_and_repeat_nothing() -> None:
    palette = default_palette(255)
    assert palette[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert len(np.unique(palette, axis=0)) == 255


def test_collating_and_pickling_keep_everything() -> None:
    batch = collate([Blobs()[0]])
    assert torch.equal(batch.image[0], Blobs()[0].image)
    data = pickle.loads(pickle.dumps(SegmentationDataModule(Shapes(num_train=4)).train_dataloader().dataset))
    assert len(data) == 4


class Seen(Blobs):
    """Keep the thread of each reading."""

    def __init__(self) -> None:
        super().__init__()
        self.threads = set[int]()

    def __getitem__(self, index: int) -> Sample:
        self.threads.add(threading.get_ident())
        return super().__getitem__(index)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_loader_without_workers_reads_in_the_threads_of_its_run(split: str, threads: int) -> None:
    blobs, before = Seen(), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        list(getattr(of_blobs(blobs, size=(8, 8), cache=False), f"{split}_dataloader")())
    finally:
        torch.set_num_threads(before)
    assert blobs.reads == 4
    assert (threading.get_ident() in blobs.threads) == (threads == 1)


def test_a_batch_holds_the_samples_of_its_keys() -> None:
    """The loader asks for a batch at once; the result is that of one sample at a time, with and without a cache."""
    for cache in (False, True):
        samples: Any = of_blobs(Blobs(), cache=cache).train_dataloader().dataset
        keys = [(2, 3), (2, 0), (2, 1)]
        for one, key in zip(samples.__getitems__(keys), keys, strict=True):
            alone = samples[key]
            assert one.name == alone.name == f"blob {key[1]}"
            assert torch.equal(one.image, alone.image)
            assert torch.equal(one.mask, alone.mask)
