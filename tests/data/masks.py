"""Data of given masks."""

import torch

from seglab.data import SegmentationDataModule, SegmentationDataset, Split
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


class MaskModule(SegmentationDataModule):
    """A user's data that pass on what is new."""

    class_names = Masks.class_names

    def __init__(self, masks: Masks, batch_size: int = 2, train_fraction: float = 1.0, balanced_images: float = 1.0) -> None:
        super().__init__(
            batch_size=batch_size, num_workers=0, augment=False, train_fraction=train_fraction, balanced_images=balanced_images
        )
        self.masks = masks

    def dataset(self, split: Split) -> SegmentationDataset:
        return self.masks


def rare(length: int) -> Masks:
    """Images of class 0, every third with one pixel of class 1, the first with one of class 2 besides, and the last without a label."""
    masks = [[[0, 0, 0], [0, 0, 1 if index % 3 == 0 else 0]] for index in range(length)]
    masks[0][0][0] = 2
    masks[-1] = [[IGNORE] * 3] * 2
    return Masks(masks)
