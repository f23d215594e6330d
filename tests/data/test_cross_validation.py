"""Data splits over a study's seeds: each sample is tested once in a repetition, and no group is cut.

A seed always has the same splits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from seglab import SegmentationDataModule, SegmentationSource, Shapes
from seglab.data.loading.divisions import division_lines, lacking_classes
from seglab.data.sources.cross_validation import CrossValidation, check_seeds
from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.files import Pair, PairedFiles
from seglab.sample import Sample

SMALL = Shapes(num_train=14, num_val=4, num_test=7, image_size=16, num_shapes=2)


class Numbered:
    """Samples whose image holds the number of the sample, and whose mask a class for each part of it."""

    class_names = ("background", "cell")
    num_classes = 2

    def __init__(self, numbers: Sequence[int], unlabelled: bool = False) -> None:
        self.numbers, self.unlabelled = numbers, unlabelled

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:
        mask = torch.full((2, 2), 255 if self.unlabelled else 0, dtype=torch.uint8)
        mask[0] = 255 if self.unlabelled else 1
        return Sample(torch.full((3, 2, 2), self.numbers[index], dtype=torch.uint8), mask, str(self.numbers[index]))


@dataclass(frozen=True)
class Cells(SegmentationSource):
    """Samples 0, 1, ..., the first of which are train, then val, then test; sample i is of patient `patients[i]`."""

    sizes: tuple[int, int, int]
    patients: tuple[int, ...] | None = None
    unlabelled: bool = False
    ungrouped: str = ""
    class_names = ("background", "cell")

    def numbers(self, name: Split) -> list[int]:
        starts = np.cumsum([0, *self.sizes])
        place = SPLITS.index(name)
        return list(range(starts[place], starts[place + 1]))

    def split(self, name: Split) -> SegmentationDataset:
        return Numbered(self.numbers(name), self.unlabelled and name == "test")

    def groups(self, name: Split) -> Sequence[str] | None:
        if self.patients is None or name == self.ungrouped:
            return None
        return [str(self.patients[number]) for number in self.numbers(name)]


def numbers_in(source: SegmentationSource, split: Split) -> list[int]:
    dataset = source.split(split)
    return [int(dataset[index][0][0, 0, 0]) for index in range(len(dataset))]


@st.composite
def cells(draw: st.DrawFn) -> tuple[Cells, int]:
    folds = draw(st.integers(2, 5))
    sizes = draw(st.tuples(st.integers(folds, 20), st.integers(1, 8), st.integers(1, 12)))
    patients = None
    if draw(st.booleans()):
        count = draw(st.integers(2 * folds + 1, 12))
        drawn = draw(st.lists(st.integers(0, count - 1), min_size=sum(sizes), max_size=sum(sizes)))
        patients = (*range(min(count, len(drawn))), *drawn[count:])  # each patient has a sample
    return Cells(sizes, patients), folds


@settings(max_examples=60, deadline=None)
@given(cells(), st.integers(0, 3))
def test_every_sample_is_tested_once_in_a_repetition_and_no_patient_is_in_two_splits(drawn: tuple[Cells, int], repetition: int) -> None:
    source, folds = drawn
    total, tested = sum(source.sizes), list[int]()
    for seed in range(repetition * folds, (repetition + 1) * folds):
        try:
            own = {split: numbers_in(CrossValidation(source, folds, seed), split) for split in SPLITS}
        except ValueError:
            if source.patients is None:
                raise
            reject()  # a fold that leaves a single patient to train and val is refused
        assert sorted(own["train"] + own["val"] + own["test"]) == list(range(total))
        assert all(own.values())
        tested += own["test"]
        if source.patients is not None:
            patients = {split: {source.patients[number] for number in numbers} for split, numbers in own.items()}
            assert not patients["train"] & patients["val"]
            assert not patients["test"] & (patients["train"] | patients["val"])
            groups = CrossValidation(source, folds, seed).groups("test")
            assert groups == [str(source.patients[number]) for number in own["test"]]
    assert sorted(tested) == list(range(total))


def test_a_seed_always_has_the_same_splits_and_repetitions_differ() -> None:
    data = SegmentationDataModule(Cells((30, 6, 14)), folds=5)
    first, again = (numbers_in(data.with_seed(7).source, "test") for _ in range(2))
    assert first == again == numbers_in(CrossValidation(Cells((30, 6, 14)), 5, 7), "test")
    assert set(first) != set(numbers_in(data.with_seed(2).source, "test"))
    assert data.sizes(7) == {"train": 33, "val": 7, "test": 10}  # val as 6 of 36 in the source


def test_the_sizes_are_those_of_each_seed() -> None:
    lines = division_lines(SegmentationDataModule(Cells((10, 2, 4), (*range(8), *range(8))), folds=3), range(3))
    assert lines[0].startswith("data splits: all 16 images of 8 groups, which are never cut, divided into 3 folds")
    assert sum(line.count("train") for line in lines[1:]) >= 1
    assert division_lines(SegmentationDataModule(Cells((10, 2, 4))), range(3)) == []


def test_the_identity_without_folds_stays_and_with_folds_names_the_sizes() -> None:
    plain = SegmentationDataModule(SMALL).identity()
    assert "folds" not in plain
    divided = SegmentationDataModule(SMALL, folds=5)
    found = divided.identity()
    assert found.pop("folds") == {"folds": 5, "train": 16.0, "val": 4.0, "test": 5.0}
    assert found == plain
    assert divided.with_seed(3).identity() == divided.identity()


def test_data_that_cannot_be_divided_are_refused() -> None:
    for source, folds, message in (
        (SMALL, 1, "folds is 1"),
        (replace(SMALL, label_noise=0.1), 5, "Shapes has other masks"),
    ):
        with pytest.raises(ValueError, match=message):
            SegmentationDataModule(source, folds=folds)
    with pytest.raises(ValueError, match=r"folds 5 of Cells.*4 groups for 5 parts"):
        SegmentationDataModule(Cells((8, 2, 2), (0, 1, 2, 3) * 3), folds=5).used("train")
    with pytest.raises(ValueError, match="not of test, so that a group could be cut"):
        SegmentationDataModule(Cells((8, 2, 2), (0, 1, 2, 3) * 3, ungrouped="test"), folds=2).used("train")


def test_a_test_split_without_masks_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="none of the 4 masks of test has a labelled pixel"):
        SegmentationDataModule(Cells((8, 2, 4), unlabelled=True), folds=3).check()


@dataclass(frozen=True)
class Twice(SegmentationSource):
    class_names = ("background", "cell")

    def split(self, name: Split) -> SegmentationDataset:
        return Numbered(range(5) if name == "train" else range(5, 8))


@dataclass(frozen=True)
class Overlapping(SegmentationSource):
    """Files, of which val and test have one in common."""

    class_names = ("background", "cell")

    def split(self, name: Split) -> SegmentationDataset:
        files = {"train": (0, 1), "val": (2, 3), "test": (3, 4)}[name]
        pairs = [Pair(Path(f"{number}.png"), Path(f"{number}-mask.png")) for number in files]
        return PairedFiles(Path(), pairs, self.class_names)


def test_samples_that_are_in_two_splits_are_refused() -> None:
    data = SegmentationDataModule(Twice(), folds=2)
    with pytest.raises(ValueError, match="val and test of Twice are the same samples"):
        data.identity()
    files = SegmentationDataModule(Overlapping(), folds=2)
    with pytest.raises(ValueError, match=r"3\.png is in Overlapping 2 times"):
        files.used("train")


def test_pixels_are_counted_for_a_run_and_never_for_all_runs_at_once() -> None:
    data = SegmentationDataModule(SMALL, folds=5)
    with pytest.raises(ValueError, match="training images of one seed are test images of another"):
        data.class_pixels()
    assert len(data.with_seed(1).class_pixels()) == data.sizes(1)["train"]


def test_classes_that_a_split_lacks_are_named() -> None:
    rare = Shapes(num_train=6, num_val=2, num_test=2, image_size=16, num_shapes=5)
    lines = lacking_classes(SegmentationDataModule(rare, folds=5), range(5))
    assert any("in test of seed" in line and "not defined" in line for line in lines)
    assert lacking_classes(SegmentationDataModule(SMALL), range(5)) == []


@pytest.mark.parametrize("seeds", [range(5), range(10), range(5, 10)])
def test_whole_repetitions(seeds: Sequence[int]) -> None:
    check_seeds(5, seeds)


@pytest.mark.parametrize("seeds", [range(4), range(7), range(1, 6), [0, 1, 2, 3, 9]])
def test_parts_of_a_repetition_are_refused(seeds: Sequence[int]) -> None:
    with pytest.raises(ValueError, match="each fold of a division has to be tested once"):
        check_seeds(5, seeds)
