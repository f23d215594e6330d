"""`train_fraction`, for every data set: it keeps the right samples, reads no others, and is part of the identity."""

import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from seglab.data import (
    SPLITS,
    CamVid,
    ImageMaskFolder,
    PairedFiles,
    SegmentationDataModule,
    SegmentationDataset,
    SegmentationSource,
    Shapes,
    Split,
)
from seglab.data.sources.spread import spread
from seglab.sample import Sample
from tests.data.test_data_camvid import NAMES, write

FRACTIONS = st.floats(0, 1, exclude_min=True)


class Dots:
    """Samples of one pixel that tell their index, and remember which of them were read."""

    class_names = ("dot",)
    num_classes = 1

    def __init__(self, split: Split, length: int) -> None:
        self.split, self.length, self.read = split, length, list[int]()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        self.read.append(index)
        return Sample(torch.full((1, 1, 1), index % 256, dtype=torch.uint8), torch.zeros(1, 1, dtype=torch.uint8), f"{self.split}/{index}")


@dataclass(frozen=True)
class Own(SegmentationSource):
    """A user's source, which does nothing about the fraction."""

    dots: Mapping[Split, Dots]
    class_names = Dots.class_names

    def split(self, name: Split) -> SegmentationDataset:
        return self.dots[name]


def own(length: int, kind: type[Dots] = Dots, **loading: Any) -> SegmentationDataModule:
    dots = {split: kind(split, length) for split in SPLITS}
    return SegmentationDataModule(Own(dots), **{"batch_size": 1, "augmentation": None, "num_workers": 0, **loading})


def loaded(source: SegmentationSource, loading: Mapping[str, Any]) -> SegmentationDataModule:
    return SegmentationDataModule(source, **{"batch_size": 2, "num_workers": 0, **loading})


def a_shapes(tmp_path: Path, **loading: Any) -> SegmentationDataModule:
    return loaded(Shapes(num_train=12, num_val=3, num_test=2, image_size=16), loading)


def a_folder(tmp_path: Path, **loading: Any) -> SegmentationDataModule:
    root = tmp_path / "folder"
    if not root.exists():
        for split, length in (("train", 12), ("val", 3), ("test", 2)):
            for kind, mode in (("images", "RGB"), ("masks", "L")):
                (root / split / kind).mkdir(parents=True)
                for number in range(length):
                    drawn = Image.new(mode, (6, 4))
                    drawn.putpixel((0, 0), (1, 1, 1) if kind == "images" else 1)  # a second class
                    drawn.save(root / split / kind / f"{number:02d}.png")
    return loaded(ImageMaskFolder(root, num_classes=3), loading)


def a_camvid(tmp_path: Path, **loading: Any) -> SegmentationDataModule:
    root = tmp_path / "camvid"
    if not root.exists():
        write(root, "{}/images", "{}/masks", lists=False)
    return loaded(CamVid(root), {"size": (6, 8), **loading})


Maker = Callable[..., SegmentationDataModule]
EVERY = pytest.mark.parametrize("make", [a_shapes, a_folder, a_camvid])


def names(dataset: SegmentationDataset) -> list[str]:
    return [dataset[index].name for index in range(len(dataset))]


@given(st.integers(1, 400), FRACTIONS)
def test_a_spread_is_of_the_fractions_size_and_even(length: int, fraction: float) -> None:
    chosen = spread(length, fraction)
    assert 0 <= min(chosen) <= max(chosen) < length
    assert abs(len(chosen) - fraction * length) <= 0.5 or len(chosen) == 1
    gaps = {b - a for a, b in pairwise(chosen)}
    assert gaps <= {length // len(chosen), -(-length // len(chosen))}, "no two gaps differ by more than one"
    furthest = max(min(abs(index - one) for one in chosen) for index in range(length))
    assert furthest <= math.ceil(length / len(chosen) / 2)


@given(st.integers(1, 30), st.integers(0, 4), st.integers(0, 100))
def test_spreads_nest_where_one_size_is_an_odd_multiple_of_the_other(count: int, half: int, more: int) -> None:
    length = count * (2 * half + 1) + more
    few, many = spread(length, count / length), spread(length, count * (2 * half + 1) / length)
    assert (len(few), len(many)) == (count, count * (2 * half + 1))
    assert set(few) <= set(many)


@given(st.integers(1, 60), FRACTIONS, st.integers(1, 4), st.integers(0, 3), st.booleans())
def test_a_users_own_data_read_the_chosen_samples_and_no_others(
    length: int, fraction: float, batch_size: int, seed: int, cache: bool
) -> None:
    data = own(length, batch_size=batch_size, cache=cache, train_fraction=fraction).with_seed(seed)
    assert isinstance(data.source, Own)
    chosen = list(range(length)) if fraction == 1 else spread(length, fraction)
    if fraction < 1 and len(chosen) < batch_size:
        with pytest.raises(ValueError, match=rf"it leaves {len(chosen)} of {length} training samples; expected at least a batch"):
            data.train_dataloader()
        return
    loader = data.train_dataloader()
    seen = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        seen.append([name for batch in loader for name in batch.name])
    size = min(batch_size, length)
    assert [len(epoch) for epoch in seen] == [len(set(epoch)) for epoch in seen] == [len(chosen) - len(chosen) % size] * 3
    assert {name for epoch in seen for name in epoch} <= {f"train/{index}" for index in chosen}
    if cache:
        assert sorted(data.source.dots["train"].read) == chosen, "the cache holds what is used, read once"
    for split, whole in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        assert [name for batch in whole for name in batch.name] == [f"{split}/{index}" for index in range(length)]


@EVERY
def test_every_seed_trains_on_the_same_part_and_is_scored_on_the_whole(make: Maker, tmp_path: Path) -> None:
    whole, half = make(tmp_path), make(tmp_path, train_fraction=0.5)
    everything, kept = names(whole.used("train")), names(half.used("train"))
    expected = [1, 3, 5, 6, 8, 9] if make is a_camvid else [1, 3, 5, 7, 9, 11]  # CamVid: of drives of 6, 3 and 1 frames
    assert kept == [everything[index] for index in expected]
    for seed in (0, 1):
        loader = half.with_seed(seed).train_dataloader()
        assert sorted(name for batch in loader for name in batch.name) == sorted(kept)
    for split in ("val", "test"):
        assert names(half.used(split)) == names(half.source.split(split)) == names(whole.source.split(split))
    assert pickle.loads(pickle.dumps(half.used("train")))[1].name == kept[1], "workers may be other processes"


@EVERY
def test_the_identity_tells_fractions_apart_and_all_from_none(make: Maker, tmp_path: Path) -> None:
    made = {fraction: make(tmp_path, train_fraction=fraction).identity() for fraction in (1.0, 0.5, 0.4)}
    assert made[1.0] == make(tmp_path).identity()
    for fraction in (0.5, 0.4):
        kept = make(tmp_path, train_fraction=fraction)
        assert made[fraction] == kept.with_seed(3).identity()
        assert made[fraction]["train_fraction"] == fraction
        assert made[fraction]["splits"]["train"]["samples"] == len(kept.used("train")) < made[1.0]["splits"]["train"]["samples"]
        assert all(made[fraction]["splits"][split] == made[1.0]["splits"][split] for split in ("val", "test"))
    trains = [str(told["splits"]["train"]) for told in made.values()]
    assert len(set(trains)) == 3


@EVERY
@pytest.mark.parametrize("fraction", [0, 1.5, -1, math.nan])
def test_a_part_that_cannot_be_is_refused(make: Maker, fraction: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"train_fraction is {fraction}: expected more than 0 and at most 1"):
        make(tmp_path, train_fraction=fraction)


@EVERY
def test_a_part_smaller_than_a_batch_is_refused_before_anything_trains(make: Maker, tmp_path: Path) -> None:
    left, total = (3, len(NAMES)) if make is a_camvid else (1, 12)  # CamVid keeps one frame of each drive
    data = make(tmp_path, train_fraction=0.05, batch_size=4)
    message = (
        rf"^train_fraction is 0.05: it leaves {left} of {total} training samples; "
        r"expected at least a batch, which is 4: raise train_fraction, or lower batch_size$"
    )
    for what in (data.train_dataloader, data.identity, data.check, data.fill_cache):
        with pytest.raises(ValueError, match=message):
            what()
    assert len(list(data.test_dataloader())) > 0, "a trained network can still be tested"
    one = make(tmp_path, train_fraction=1e-9, batch_size=1)
    assert len(one.used("train")) == (3 if make is a_camvid else 1), "never empty"


def test_the_fingerprint_and_the_check_are_of_the_files_that_are_used(tmp_path: Path) -> None:
    data = a_folder(tmp_path, train_fraction=0.5)
    masks = tmp_path / "folder" / "train" / "masks"
    whole = a_folder(tmp_path).source.split("train")
    assert isinstance(whole, PairedFiles)
    alone = PairedFiles(whole.root, whole.pairs[1::2], whole.class_names)
    before = data.identity()
    assert before["splits"]["train"] == {"samples": 6, "files": alone.fingerprint()}
    (masks / "00.png").write_text("broken, but not used")
    assert data.identity() == before
    data.check()
    Image.new("L", (6, 4), 7).save(masks / "01.png")
    assert data.identity() != before
    with pytest.raises(ValueError, match=r"train/masks/01.png: label 7, the classes are 0…2"):
        data.check()


def test_files_that_cannot_tell_a_part_have_the_fingerprint_of_all_and_of_the_choice(tmp_path: Path) -> None:
    class DotFiles(Dots):
        files = "abc"

        def fingerprint(self) -> str:
            return self.files

        def mask_file(self, index: int) -> Path:
            return tmp_path / f"{index}.png"

    def told(fraction: float) -> dict[str, object]:
        part: dict[str, object] = own(10, DotFiles, train_fraction=fraction).identity()["splits"]["train"]
        return part

    before = [told(fraction) for fraction in (0.4, 0.5, 1.0)]
    assert before[2] == {"samples": 10, "files": "abc"}
    assert len({str(part["files"]) for part in before}) == 3
    assert told(0.5) == before[1]
    DotFiles.files = "abd"
    assert all(told(fraction) != old for fraction, old in zip((0.4, 0.5, 1.0), before, strict=True))
