"""PASCAL VOC 2012 segmentation, 20 kinds of objects and the background, with the additional masks of SBD on demand.

M. Everingham et al., "The PASCAL Visual Object Classes Challenge: A Retrospective", IJCV 111 (2015); classes and
colours: its development kit. B. Hariharan et al., "Semantic Contours from Inverse Detectors", ICCV 2011 (SBD).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from seglab.data.arrays import as_tensor
from seglab.data.reading.read import opened, read_image
from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.files import Pair
from seglab.data.sources.labels import labels
from seglab.data.sources.official import RGBFiles, folder_of, held_out, listed, require_files, rgb
from seglab.data.sources.source import SegmentationSource
from seglab.sample import Sample

LAYOUT = (
    "VOCdevkit/VOC2012 with JPEGImages/*.jpg, SegmentationClass/*.png and ImageSets/Segmentation/{train,val}.txt: `seglab download VOC --root "
    "D` gets them from http://host.robots.ox.ac.uk/pascal/VOC/voc2012"
)
SBD_LAYOUT = (
    "in the folder VOC2012, SBD's benchmark_RELEASE/dataset with cls/*.mat, train.txt and val.txt, which `seglab download SBD --root D` gets, "
    "or SegmentationClassAug/*.png and ImageSets/Segmentation/trainaug.txt"
)
OBJECTS = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep sofa train tvmonitor"
)
EVERY = 10
"""One in so many images of the official list train.txt is held out for validation."""


@dataclass(frozen=True)
class VOC(SegmentationSource):
    """PASCAL VOC 2012 with 21 classes; label 255 (borders and difficult objects) is ignored.

    Images have up to 500×500 pixels.

    The official test masks are not public, so the official list val.txt (1449 images) is the test split. Of the
    official list train.txt (1464 images), every tenth name is held out for validation (146), and the others train
    (1318). With `sbd`, the images of SBD that are in neither list train too (10436 in all, those of "trainaug" without
    the validation split); validation and test stay the same.

    Raises:
        ValueError: folders, lists or files are missing.
    """

    root: Path
    """folder with VOCdevkit/VOC2012, or VOC2012 itself."""
    sbd: bool = False
    """train on the images of SBD too, whose masks have coarser outlines."""

    class_names = ("background", *OBJECTS.split())

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))  # a string will do
        for split in SPLITS:
            self.split(split)

    def split(self, name: Split) -> SegmentationDataset:
        """Return the images of one split, in the order of the lists; those of SBD follow, sorted by name."""
        base = folder_of(self.root, ("VOCdevkit/VOC2012", "VOC2012"), "JPEGImages", LAYOUT)
        lists = base / "ImageSets" / "Segmentation"
        official_train, official_val = listed(lists / "train.txt", LAYOUT), listed(lists / "val.txt", LAYOUT)
        train, val = held_out(official_train, EVERY)
        names = {"train": train, "val": val, "test": official_val}[name]
        pairs = [_pair(base, name, base / "SegmentationClass" / f"{name}.png") for name in names]
        require_files(pairs, LAYOUT)
        if name == "train" and self.sbd:
            pairs += _sbd(base, {*official_train, *official_val})
        return VOCFiles(base, pairs, self.class_names)


class VOCFiles(RGBFiles):
    """Pairs of files whose masks may be SBD's files of MATLAB."""

    def __getitem__(self, index: int) -> Sample:
        image, mask = self.pairs[index]
        if mask.suffix != ".mat":
            return super().__getitem__(index)
        return Sample(rgb(as_tensor(read_image(image))), torch.from_numpy(_read_sbd(mask)), self._name(image))


def _sbd(base: Path, others: set[str]) -> list[Pair]:
    """Return the pairs of SBD without the names `others`: masks as PNG if there are any, else SBD's own files."""
    if (folder := base / "SegmentationClassAug").is_dir():
        masks, lists = f"{folder}/{{}}.png", [base / "ImageSets" / "Segmentation" / "trainaug.txt"]
    else:
        folder = base / "benchmark_RELEASE" / "dataset"
        masks, lists = f"{folder}/cls/{{}}.mat", [folder / "train.txt", folder / "val.txt"]
    names = {name for file in lists for name in listed(file, SBD_LAYOUT)}
    pairs = [_pair(base, name, Path(masks.format(name))) for name in sorted(names - others)]
    require_files(pairs, SBD_LAYOUT)
    return pairs


def _pair(base: Path, name: str, mask: Path) -> Pair:
    return Pair(base / "JPEGImages" / f"{name}.jpg", mask)


def _read_sbd(file: Path) -> npt.NDArray[np.uint8]:
    """Read the classes (H,W) of a mask of SBD, the field Segmentation of the structure GTcls.

    Raises:
        ValueError: the file cannot be read, or has no such field.
    """
    from scipy.io import loadmat

    with opened(file, "a mask of SBD", "its image") as stream:
        stored = loadmat(stream)["GTcls"]["Segmentation"][0, 0]
    return np.ascontiguousarray(labels(stored, None, file))
