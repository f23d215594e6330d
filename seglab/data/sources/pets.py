"""Oxford-IIIT Pet: cats and dogs of 37 breeds, with trimaps of the pet, the background and a border between them.

O. M. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar, "Cats and Dogs", CVPR 2012. Labels: `annotations/README` of the
data set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.files import Pair
from seglab.data.sources.official import RGBFiles, folder_of, held_out, listed, require_files
from seglab.data.sources.source import SegmentationSource
from seglab.sample import IGNORE

LAYOUT = (
    "images/*.jpg, annotations/trimaps/*.png and annotations/{trainval,test}.txt: `seglab download OxfordPets --root D` gets them from "
    "https://www.robots.ox.ac.uk/~vgg/data/pets"
)
EVERY = 10
"""One in so many images of the official list trainval.txt is held out for validation."""
BORDER: Mapping[str, int] = {"void": IGNORE, "pet": 1, "class": 2}
"""Class of the trimap's border, label 3."""


@dataclass(frozen=True)
class OxfordPets(SegmentationSource):
    """Oxford-IIIT Pet with the classes background and pet, from the trimaps.

    The official list test.txt (3669 images) is the test split. Of the official list trainval.txt (3680), which is
    sorted by breed, every tenth name is held out for validation (368), and the others train (3312).

    Raises:
        ValueError: folders, lists or files are missing, or `border` is none of its words.
    """

    root: Path
    """folder with images and annotations."""
    border: Literal["void", "pet", "class"] = "void"
    """the border of the trimaps: "void" ignores it, "pet" counts it to the pet, "class" makes it a third class."""

    def __post_init__(self) -> None:
        if self.border not in BORDER:
            raise ValueError(f"border is {self.border!r}: expected one of {', '.join(BORDER)}")
        object.__setattr__(self, "root", Path(self.root))  # a string will do
        for split in SPLITS:
            self.split(split)

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]  # follows from a field of a frozen dataclass
        """Names of the two classes, or three with the border."""
        return ("background", "pet", "border") if self.border == "class" else ("background", "pet")

    def split(self, name: Split) -> SegmentationDataset:
        """Return the images of one split, in the order of the lists."""
        base = folder_of(self.root, ("oxford-iiit-pet",), "annotations/trimaps", LAYOUT)
        train, val = held_out(listed(base / "annotations" / "trainval.txt", LAYOUT), EVERY)
        names = listed(base / "annotations" / "test.txt", LAYOUT) if name == "test" else train if name == "train" else val
        pairs = [Pair(base / "images" / f"{one}.jpg", base / "annotations" / "trimaps" / f"{one}.png") for one in names]
        require_files(pairs, LAYOUT)
        return RGBFiles(base, pairs, self.class_names, table={1: 1, 2: 0, 3: BORDER[self.border]})
