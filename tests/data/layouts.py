"""Data sets in miniature, in the layouts and with the labels that laboratories have.

Each mask tells which image it belongs to.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from seglab.data import SegmentationDataset

Mask = npt.NDArray[np.uint8]

SPLIT_OF = {"train": range(6), "val": range(6, 9), "test": range(9, 12)}
"""The numbers of the samples of each split; three samples are of one patient."""

TABLE = "class,r,g,b\nback,0,0,0\ncell,255,0,0\ncell,250,0,0\nvoid,255,255,255\n"


def key(number: int) -> str:
    return f"p{number // 3}_{number:02d}"


def classes(number: int) -> Mask:
    """Return the classes (4,8) of a sample: row 0 holds its number in binary, the rest class 1 and an ignored pixel."""
    mask = np.ones((4, 8), np.uint8)
    mask[0] = np.unpackbits(np.array([number], np.uint8))
    mask[3, 7] = 255
    return mask


def index_mask(number: int) -> Image.Image:
    return Image.fromarray(classes(number))


def binary_mask(number: int) -> Image.Image:
    """255 is the class 1; 128 is ignored."""
    return Image.fromarray(np.array([0, 255] + [0] * 253 + [128], np.uint8)[classes(number)])


def colour_mask(number: int) -> Image.Image:
    """Two colours of one class, in the rows of TABLE."""
    colours = np.zeros((256, 3), np.uint8)
    colours[1], colours[255] = (255, 0, 0), (255, 255, 255)
    mask = colours[classes(number)]
    mask[1][(mask[1] == (255, 0, 0)).all(axis=1)] = (250, 0, 0)
    return Image.fromarray(mask)


def palette_mask(number: int) -> Image.Image:
    """The same colours in a palette, whose indices are not the classes."""
    return colour_mask(number).quantize(8, dither=Image.Dither.NONE)


LABELS: dict[str, tuple[Callable[[int], Image.Image], dict[str, Any]]] = {
    "indices": (index_mask, {"num_classes": 2}),
    "0 and 255": (binary_mask, {"labels": {0: 0, 255: 1, 128: 255}}),
    "colours": (colour_mask, {"classes": "classes.csv", "void": "void"}),
    "palette": (palette_mask, {"classes": "classes.csv", "void": "void"}),
}

FOLDERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "{split}/images, {split}/masks": ("{split}/images/{key}.jpg", "{split}/masks/{key}.png", {}),
    "images/{split}, masks/{split}": (
        "images/{split}/{key}.JPG",
        "masks/{split}/{key}.png",
        {"images": "images/{split}/*.jpg", "masks": "masks/{split}/*.png"},
    ),
    "suffix": ("{split}/{key}.png", "{split}/{key}_mask.png", {"images": "{split}/*.png", "masks": "{split}/*_mask.png"}),
    "both suffixes, nested": (
        "left/{split}/{city}/{key}_left.png",
        "gt/{split}/{city}/{key}_gt_labelIds.png",
        {"images": "left/{split}/**/*_left.png", "masks": "gt/{split}/**/*_gt_labelIds.png"},
    ),
    "other names of splits": (
        "{training}_images/{key}.bmp",
        "{training}_masks/{key}.tif",
        {"images": "{split}_images/*.bmp", "masks": "{split}_masks/*.tif"},
    ),
    "one folder of masks": ("{split}/{key}.png", "gt/{key}.png", {"images": "{split}/*", "masks": "gt/*"}),
}
"""Layouts with a folder for each split: path of an image, path of a mask, and the arguments that read them."""

FLAT: dict[str, tuple[str, str, dict[str, Any]]] = {
    "images, masks": ("images/{key}.jpg", "masks/{key}.png", {}),
    "suffix": ("{key}.png", "{key}_mask.png", {"images": "*.png", "masks": "*_mask.png"}),
    "a folder each sample": ("{key}/image.png", "{key}/mask.png", {"images": "*/image.png", "masks": "*/mask.png"}),
    "a folder each patient": (
        "{city}/images/{key}.npy",
        "{city}/masks/{key}.bmp",
        {"images": "*/images/*", "masks": "*/masks/*"},
    ),
    "deep": ("a/{city}/b/{key}.png", "m/{city}/b/{key}.png", {"images": "a/**/*.png", "masks": "m/**/*.png"}),
}
"""Layouts without splits, likewise."""


def write(root: Path, image: str, mask: str, drawn: Callable[[int], Image.Image], numbers: Iterable[int] = range(12)) -> Path:
    """Write the samples `numbers` below `root`, and a table of classes."""
    split_of = {number: split for split, own in SPLIT_OF.items() for number in own}
    for number in numbers:
        split = split_of[number]
        words = {"split": split, "key": key(number), "city": f"p{number // 3}"}
        words["training"] = {"train": "training", "val": "validation", "test": "testing"}[split]
        pixels = np.full((4, 8, 3), number, np.uint8)
        for path, picture in ((image, pixels), (mask, drawn(number))):
            file = root / path.format(**words)
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".npy":
                np.save(file, pixels)
            else:
                (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file)
    (root / "classes.csv").write_text(TABLE)
    return root


def numbers_of(dataset: SegmentationDataset) -> list[int]:
    """Return the sample numbers of a split, and check that each image has its own mask, read as its classes."""
    found = []
    for index in range(len(dataset)):
        image, mask, name = dataset[index]
        number = int(np.packbits(mask[0].numpy())[0])
        assert np.array_equal(mask.numpy(), classes(number)), name
        assert int(image.float().mean().round()) == number, name
        found.append(number)
    return found
