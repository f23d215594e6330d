"""CamVid, road scenes from a moving car, in SegNet's split: 367 train, 101 val, 233 test frames of 360×480 (rows × columns).

G. J. Brostow, J. Fauqueur, R. Cipolla, "Semantic object classes in video: a high-definition ground truth database", Pattern Recognition
Letters 30 (2009). Split and the 11 classes: V. Badrinarayanan, A. Kendall, R. Cipolla, "SegNet" (arXiv:1511.00561).
"""

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seglab.data.loading.datamodule import SegmentationDataModule
from seglab.data.loading.part import spread
from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.files import Pair, PairedFiles
from seglab.data.sources.folder import pair_by_stem

VOID = 11
LAYOUT = (
    "{train,val,test}/images/NAME.jpg and {train,val,test}/masks/NAME.png, or SegNet's {train,val,test}/NAME.png, "
    "{train,val,test}annot/NAME.png and {train,val,test}.txt"
)
COLOURS = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
"""The classes in the order of their labels, in the colours of SegNet's figures."""


class CamVid(SegmentationDataModule):
    """CamVid, evaluated at 360×480 whatever `size` is; label 11 (void) is ignored.

    Args:
        root: the folder with the splits, in SegNet's layout or as folders of images and masks.
        train_fraction: the part of the training frames that is used, evenly spread over each drive, at least one of it, the same for
            every seed.
        batch_size: of all ranks together.
        size: rows and columns to which images are resized. The default is what most networks take, multiples of 32; None is 360×480.
        augment: whether training samples are augmented.
        num_workers: processes that prepare batches; None for what suits this machine.
        cache: keep the resized images in memory.
        balanced_images: how much of the order of training is drawn, with replacement, to favour images of rare classes: 0 shows every
            image once an epoch, 1 draws a class, a pixel of it, and the image that has it, in between is a mixture.
        crop: rows and columns of the crops to train on, cut after resizing and augmenting; None for whole images.
        balanced_crops: the part of the crops that is placed around a pixel of a class drawn from those of the image; the others lie
            anywhere.

    Raises:
        ValueError: the root has neither layout, files are missing, or the fraction is not in (0, 1].
    """

    class_names = tuple(COLOURS)

    def __init__(
        self,
        root: str | Path,
        train_fraction: float = 1.0,
        batch_size: int = 8,
        size: tuple[int, int] | None = (352, 480),
        augment: bool = True,
        num_workers: int | None = None,
        cache: bool = False,
        balanced_images: float = 0.0,
        crop: tuple[int, int] | None = None,
        balanced_crops: float = 0.0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            size=size,
            augment=augment,
            num_workers=num_workers,
            cache=cache,
            train_fraction=train_fraction,
            balanced_images=balanced_images,
            crop=crop,
            balanced_crops=balanced_crops,
        )
        self.root = Path(root)
        for split in SPLITS:
            self.dataset(split)

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """(11,3) SegNet's colours."""
        return np.array(list(COLOURS.values()), np.uint8)

    def dataset(self, split: Split) -> SegmentationDataset:
        """The frames of one split, sorted by drive and time."""
        return PairedFiles(self.root, self._frames(split), self.class_names, VOID)

    def chosen(self, dataset: SegmentationDataset) -> list[int]:
        """Frames at even distances in each drive, at least one: neighbours in time are nearly alike, a random draw would waste."""
        frames = enumerate(self._frames("train"))
        drives = [[index for index, _ in drive] for _, drive in groupby(frames, key=lambda frame: frame[1].image.stem.split("_")[0])]
        return [drive[place] for drive in drives for place in spread(len(drive), self.train_fraction)]

    def identity(self) -> dict[str, Any]:
        """As of all data, with `train_fraction` even where it is 1, as it is in the records of CamVid's studies."""
        told = super().identity()
        return {**told, "arguments": {**told["arguments"], "train_fraction": self.train_fraction}}

    def _frames(self, split: Split) -> list[Pair]:
        """The pairs of one split, sorted by drive and time."""
        return sorted(self._pairs(split), key=lambda pair: pair.image.stem)

    def _pairs(self, split: Split) -> list[Pair]:
        if (self.root / split / "images").is_dir():
            return pair_by_stem(self.root / split / "images", self.root / split / "masks", LAYOUT)
        if (self.root / f"{split}.txt").is_file():
            return _listed(self.root, split)
        raise ValueError(f"{self.root}: no CamVid here, {split}/images and {split}.txt are missing; expected {LAYOUT}: correct the root")


def _listed(root: Path, split: Split) -> list[Pair]:
    """The pairs of SegNet's list, by their file names: the folders in it are those of the authors' machine."""
    pairs = []
    for number, line in enumerate((root / f"{split}.txt").read_text().splitlines(), start=1):
        if not (names := line.split()):
            continue
        if len(names) != 2:
            raise ValueError(f"{root / split}.txt, line {number}: {len(names)} words; expected the path of an image and that of its mask")
        pair = Pair(root / split / Path(names[0]).name, root / f"{split}annot" / Path(names[1]).name)
        if missing := [file for file in pair if not file.is_file()]:
            raise ValueError(
                f"{missing[0]}: no such file, but {split}.txt lists it; expected {LAYOUT}: complete the data, or correct the list"
            )
        pairs.append(pair)
    if not pairs:
        raise ValueError(f"{root / split}.txt: lists no pairs; expected two paths a line, of an image and its mask")
    return pairs
