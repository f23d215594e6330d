"""Data of given masks."""

from dataclasses import dataclass

import torch

from seglab.data import SegmentationDataModule, SegmentationDataset, SegmentationSource, Split
from seglab.sample import IGNORE, Sample


class Masks:
    """Samples of given masks, whose images tell their index; counts how often it is read."""

    class_names = ("a", "b", "c")
    num_classes = 3

    def __init__(self, masks: list[list[list[int]]]) -> None:
        self.masks, self.reads = [torch.tensor(mask, dtype=torch.uint8) for mask in masks], 0

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: int) -> Sample:
        self.reads += 1
        return Sample(torch.full((3, *self.masks[index].shape), index, dtype=torch.uint8), self.masks[index], f"mask {index}")


@dataclass(frozen=True)
class MaskSource(SegmentationSource):
    """A source whose splits are all the same masks."""

    masks: Masks
    class_names = Masks.class_names

    def split(self, name: Split) -> SegmentationDataset:
        return self.masks


def of_masks(masks: Masks, batch_size: int = 2, train_fraction: float = 1.0, balanced_images: float = 1.0) -> SegmentationDataModule:
    """Return a data module of given masks, without augmentation."""
    return SegmentationDataModule(
        MaskSource(masks),
        batch_size=batch_size,
        num_workers=0,
        augmentation=None,
        train_fraction=train_fraction,
        balanced_images=balanced_images,
    )


def rare(length: int) -> Masks:
    """Return masks of class 0, every third with one pixel of class 1, the last without a label.

    The first has one pixel of class 2 besides.
    """
    masks = [[[0, 0, 0], [0, 0, 1 if index % 3 == 0 else 0]] for index in range(length)]
    masks[0][0][0] = 2
    masks[-1] = [[IGNORE] * 3] * 2
    return Masks(masks)
