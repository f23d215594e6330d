"""A data set of one's own: images D/{train,val,test}/NAME.jpg, and beside each its mask of class indices, NAME.png."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from seglab import Sample, SegmentationDataset, SegmentationSource, Split


class CellImages:
    class_names = ("background", "cell")
    num_classes = 2

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.jpg"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        file = self.files[index]
        image = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)  # (C,H,W) uint8
        mask = torch.from_numpy(np.array(Image.open(file.with_suffix(".png"))))  # (H,W) uint8, 255 being void
        return Sample(image, mask, file.name)


@dataclass(frozen=True)
class Cells(SegmentationSource):
    root: Path
    class_names = CellImages.class_names

    def split(self, name: Split) -> SegmentationDataset:
        return CellImages(self.root / name)
