"""Sources of one's own: what is forgotten is named in one line, and the size of the images is told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from seglab import Sample, SegmentationDataModule, SegmentationSource, Split
from seglab.data.loading.sizes import size_note


class Images:
    """Images of these sizes, of class 0 but for one pixel."""

    class_names = ("a", "b")
    num_classes = 2

    def __init__(self, sizes: Sequence[tuple[int, int]] = ((16, 20),)) -> None:
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        mask = torch.zeros(self.sizes[index], dtype=torch.uint8)
        mask[0, 0] = 1
        return Sample(torch.zeros(3, *self.sizes[index], dtype=torch.uint8), mask, str(index))


class ChannelsLast(Images):
    def __getitem__(self, index: int) -> Sample:
        image, mask, name = super().__getitem__(index)
        return Sample(image.permute(1, 2, 0), mask, name)


class Numbered:
    class_names = ("a", "b")

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return Images()[index]


@dataclass(frozen=True)
class Source(SegmentationSource):
    make: Callable[[], Any]
    class_names = ("a", "b")

    def split(self, name: Split) -> Any:
        return self.make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            Numbered,
            r"Source.split\('train'\) returned a Numbered; expected a SegmentationDataset, with class_names, .*; it has no num_classes",
        ),
        (
            lambda: None,
            r"Source.split\('train'\) returned None; .* has no class_names and no num_classes and no __len__ and no __getitem__",
        ),
        (lambda: (Images()[0] for _ in range(1)), "returned a generator; .* has no class_names"),
        (lambda: Images(()), r"Source.split\('train'\) returns no samples: expected at least one"),
        (ChannelsLast, r"0: the image has the shape \(16, 20, 3\), with its channels last; .*\(C,H,W\): add .permute\(2, 0, 1\)"),
    ],
)
def test_what_is_forgotten_is_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        SegmentationDataModule(Source(make), batch_size=1).check()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("sizes", "size", "crop", "expected"),
    [
        ([(512, 512)], None, None, "images of 512×512 are trained at their own size;"),
        ([(360, 480)], (352, 480), None, "images of 360×480 are trained at 352×480;"),
        ([(352, 480)], (352, 480), None, "images of 352×480 are trained at their own size;"),
        ([(8, 9), (9, 8), (8, 9)], None, None, "images of 2 sizes, from 8×9 to 9×8, are trained at their own sizes;"),
        ([(8, 9), (9, 8)], (8, 8), (4, 4), "images of 2 sizes, from 8×9 to 9×8, are trained in crops of 4×4 at 8×8;"),
    ],
)
def test_the_size_of_the_images_is_told(sizes: list[tuple[int, int]], size: Any, crop: Any, expected: str) -> None:
    data = SegmentationDataModule(Source(lambda: Images(sizes)), batch_size=1, size=size, crop=crop)
    assert data.check().sizes == size_note(set(sizes), size, crop)
    assert data.check().sizes.startswith(expected)


@dataclass(frozen=True)
class OfPatients(Source):
    patients: tuple[int, ...] = (7, 7)

    def groups(self, name: Split) -> Any:
        return self.patients


def test_groups_are_one_for_each_sample() -> None:
    def data(*patients: int) -> SegmentationDataModule:
        return SegmentationDataModule(OfPatients(lambda: Images([(16, 20)] * 2), patients), batch_size=1, num_workers=0)

    data(7, 7).check()
    assert data(7, 9).groups("test") == ["7", "9"]
    assert SegmentationDataModule(Source(Images), batch_size=1).groups("test") is None
    with pytest.raises(ValueError, match=r"OfPatients.groups\('train'\) returned 3 groups for 2 samples: return one for each"):
        data(7, 7, 7).check()
