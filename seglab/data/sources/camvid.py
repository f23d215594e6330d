"""CamVid, road scenes from a car, in SegNet's split: 367 train, 101 val, 233 test frames of 360×480 (rows × columns).

G. J. Brostow, J. Fauqueur, R. Cipolla, "Semantic object classes in video: a high-definition ground truth database",
Pattern Recognition Letters 30 (2009). Split and the 11 classes: V. Badrinarayanan, A. Kendall, R. Cipolla, "SegNet"
(arXiv:1511.00561).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from seglab.data.reading.read import opened
from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.files import Pair, PairedFiles
from seglab.data.sources.folder import pair_by_stem
from seglab.data.sources.source import SegmentationSource
from seglab.data.sources.spread import spread

VOID = 11
LAYOUT = (
    "{train,val,test}/images/NAME.jpg and {train,val,test}/masks/NAME.png, or SegNet's {train,val,test}/NAME.png, "
    "{train,val,test}annot/NAME.png and {train,val,test}.txt"
)
DRIVES: dict[str, Split] = {"0001TP": "train", "0016E5": "train", "0006R0": "val", "Seq05VD": "test"}
"""Split of each drive for `splits="drives"`. All 11 classes occur in each split; the drives of train are those with
most bicyclists.
"""

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
"""Colour of each class in SegNet's figures; the classes are in the order of their labels."""


@dataclass(frozen=True)
class CamVid(SegmentationSource):
    """CamVid, evaluated at 360×480 for every training size; label 11 (void) is ignored.

    `train_fraction` keeps frames that are spread evenly over each drive, at least one frame a drive. Neighbours in time
    are nearly alike, and a random choice would contain more neighbours.

    SegNet's splits share drives: the validation frames are 7 seconds out of a training drive, and half of drive 0001TP
    is test. Use it for numbers that are compared with published ones. `splits="drives"` never has frames of one drive
    in two splits: 429 train (0001TP, 0016E5), 101 val (0006R0) and 171 test frames (Seq05VD).

    Raises:
        ValueError: the root has neither of the two layouts, files are missing, or splits is unknown.
    """

    root: Path
    """folder with the splits, in SegNet's layout or as folders of images and masks."""
    splits: Literal["drives"] | None = None
    """drives for splits of whole drives; None for SegNet's splits."""

    class_names = tuple(COLOURS)
    suggested_size = (352, 480)  # multiples of 32, as most networks need; --data.size "[360,480]" keeps the images' own

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))  # a string will do
        if self.splits not in (None, "drives"):
            raise ValueError(f"splits is {self.splits!r}: expected 'drives', or None for SegNet's splits")
        for split in SPLITS:
            self.split(split)

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """(11,3) SegNet's colours."""
        return np.array(list(COLOURS.values()), np.uint8)

    def split(self, name: Split) -> SegmentationDataset:
        """Return the frames of one split, sorted by drive and time."""
        return PairedFiles(self.root, self._frames(name), self.class_names, VOID)

    def groups(self, name: Split) -> Sequence[str]:
        """Return the drive of each frame of a split."""
        return [_drive(pair) for pair in self._frames(name)]

    def chosen(self, dataset: SegmentationDataset, fraction: float) -> list[int]:
        """Return the indices of frames at even distances in each drive, at least one frame a drive."""
        frames = enumerate(self._frames("train"))
        drives = [[index for index, _ in drive] for _, drive in groupby(frames, key=lambda frame: _drive(frame[1]))]
        return [drive[place] for drive in drives for place in spread(len(drive), fraction)]

    def _frames(self, split: Split) -> list[Pair]:
        """Return the pairs of one split, sorted by drive and time."""
        if self.splits is None:
            return sorted(self._pairs(split), key=lambda pair: pair.image.stem)
        every = sorted((pair for name in SPLITS for pair in self._pairs(name)), key=lambda pair: pair.image.stem)
        for pair in every:
            if _drive(pair) not in DRIVES:
                raise ValueError(
                    f"{pair.image}: its drive is none of {', '.join(DRIVES)}: expected CamVid's frames, or no splits by drives"
                )
        frames = [pair for pair in every if DRIVES[_drive(pair)] == split]
        if not frames:
            raise ValueError(f"{self.root}: no frames of the drives of {split}; expected the whole of CamVid, or no splits by drives")
        return frames

    def _pairs(self, split: Split) -> list[Pair]:
        if (self.root / split / "images").is_dir():
            return pair_by_stem(self.root / split / "images", self.root / split / "masks", LAYOUT)
        if (self.root / f"{split}.txt").is_file():
            return _listed(self.root, split)
        raise ValueError(f"{self.root}: no CamVid here, {split}/images and {split}.txt are missing; expected {LAYOUT}: correct the root")


def _drive(pair: Pair) -> str:
    return pair.image.stem.partition("_")[0]


def _listed(root: Path, split: Split) -> list[Pair]:
    """Return the pairs of SegNet's list.

    Only file names are used, because the list has the folders of its authors' machine.
    """
    with opened(root / f"{split}.txt", "a list of pairs", "its split") as stream:
        lines = stream.read().decode().splitlines()
    pairs = []
    for number, line in enumerate(lines, start=1):
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
