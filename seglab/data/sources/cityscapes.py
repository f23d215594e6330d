"""Cityscapes: street scenes of 50 cities, 1024×2048 (rows × columns), with fine masks of 19 evaluated classes.

M. Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016 (arXiv:1604.01685). Labels,
classes and colours: `cityscapesscripts/helpers/labels.py` of https://github.com/mcordts/cityscapesScripts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.files import Pair, PairedFiles
from seglab.data.sources.official import require_files, require_folders
from seglab.data.sources.source import SegmentationSource
from seglab.sample import IGNORE

LAYOUT = (
    "leftImg8bit/{train,val}/CITY/*_leftImg8bit.png and gtFine/{train,val}/CITY/*_gtFine_labelIds.png: unpack leftImg8bit_trainvaltest.zip "
    "and gtFine_trainvaltest.zip of https://www.cityscapes-dataset.com/downloads there; the download needs an account"
)
CLASSES = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
"""Label in the files (`labelIds`) and official colour of each class, in the order of the official `trainId`."""
TABLE = dict.fromkeys(range(-1, 34), IGNORE) | {label: index for index, (label, _) in enumerate(CLASSES.values())}
"""Class of each label. The 15 labels that the benchmark does not evaluate, and -1 (licence plates), are ignored."""
VAL_CITIES = ("dusseldorf", "monchengladbach", "zurich")
"""Cities of the official training set that are held out for validation: every sixth by name, 437 of 2975 frames."""


@dataclass(frozen=True)
class Cityscapes(SegmentationSource):
    """Cityscapes with fine masks and the 19 classes of the benchmark; all other labels are ignored.

    The official test masks are not public, so the official validation set (500 frames of 3 cities) is the test split.
    The validation split is held out of the official training set: 437 frames of Düsseldorf, Mönchengladbach and Zurich.
    The training split has the 2538 frames of the 15 other cities. No city is in two splits. A published number on "val"
    is to be compared with the test split, and was usually trained on all 2975 frames.

    Raises:
        ValueError: folders or files are missing.
    """

    root: Path
    """folder with leftImg8bit and gtFine."""

    class_names = tuple(CLASSES)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))  # a string will do
        for split in SPLITS:
            self.split(split)

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """(19,3) official colours."""
        return np.array([colour for _, colour in CLASSES.values()], np.uint8)

    def split(self, name: Split) -> SegmentationDataset:
        """Return the frames of one split, sorted by city, sequence and frame."""
        return PairedFiles(self.root, self._pairs(name), self.class_names, table=TABLE)

    def groups(self, split: Split) -> Sequence[str]:
        """Return the city of each frame of one split."""
        return [pair.image.parent.name for pair in self._pairs(split)]

    def _pairs(self, split: Split) -> list[Pair]:
        images = self.root / "leftImg8bit" / ("val" if split == "test" else "train")
        require_folders([images], LAYOUT)
        cities = sorted(folder.name for folder in images.iterdir() if folder.is_dir())
        if split != "test":
            if missing := [city for city in VAL_CITIES if city not in cities]:
                raise ValueError(f"{images / missing[0]}: no such folder; this city is held out for validation; expected {LAYOUT}")
            cities = [city for city in cities if (city in VAL_CITIES) == (split == "val")]
        files = [file for city in cities for file in sorted((images / city).glob("*_leftImg8bit.png")) if not file.name.startswith(".")]
        pairs = [Pair(file, self._mask(file)) for file in files]
        if not pairs:
            raise ValueError(f"{images}: no frames of the split {split} in it; expected {LAYOUT}")
        require_files(pairs, LAYOUT)
        return pairs

    def _mask(self, image: Path) -> Path:
        """Return the file of the mask of an image."""
        stem = image.name.removesuffix("_leftImg8bit.png")
        return self.root / "gtFine" / image.parent.relative_to(self.root / "leftImg8bit") / f"{stem}_gtFine_labelIds.png"
