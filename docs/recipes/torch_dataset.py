"""Define a PyTorch data set.

The flags that read it: --data.source TorchDataset --data.source.make my.squares
--data.source.class_names background,square
"""

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from seglab import Split

SEEDS: dict[Split, range] = {"train": range(80), "val": range(80, 90), "test": range(90, 100)}


class Squares(Dataset[tuple[Image.Image, Image.Image]]):
    """Pairs of an image and its mask, without transforms."""

    def __init__(self, seeds: range) -> None:
        self.seeds = seeds

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> tuple[Image.Image, Image.Image]:
        rng = np.random.default_rng(self.seeds[index])
        mask = np.zeros((64, 64), np.uint8)
        row, column = rng.integers(0, 48, 2)
        mask[row : row + 16, column : column + 16] = 1
        image = rng.integers(0, 160, (64, 64, 3), dtype=np.uint8) + 80 * mask[..., None]
        return Image.fromarray(image), Image.fromarray(mask)


def squares(split: Split) -> Squares:
    return Squares(SEEDS[split])
