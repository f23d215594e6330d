"""Published data sets in miniature: their names, folders, modes and odd values, with known masks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SIZE = (6, 8)
"""Rows and columns of all images."""


def image(file: Path, mode: str = "RGB", content: str | None = None) -> None:
    """Write an image of random pixels. `content` is its format, whatever the ending of the name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(file.name))
    Image.fromarray(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).convert(mode).save(file, format=content)


def mask(file: Path, values: npt.NDArray[np.uint8], palette: bool = False) -> None:
    """Write a mask as a PNG, of grey or of a palette whose colours differ from the indices."""
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values)
    if palette:
        picture.putpalette(bytes(range(255, -1, -1)) * 3)
    picture.save(file)


def values(*labels: int) -> npt.NDArray[np.uint8]:
    """Return a mask (6,8) that repeats the labels from left to right and from top to bottom."""
    return np.resize(np.array(labels, np.uint8), SIZE)


TRAIN_CITIES = ("aachen", "dusseldorf", "monchengladbach", "ulm", "zurich")
CITYSCAPES_LABELS = tuple(range(34))


def cityscapes(root: Path) -> Path:
    """All labels 0…33 in each mask; two frames a city, whose official test masks are void.

    There are macOS's files and other masks.
    """
    cities = {"train": TRAIN_CITIES, "val": ("frankfurt", "lindau"), "test": ("berlin",)}
    for split, names in cities.items():
        for city in names:
            for frame in ("000000_000019", "000001_000019"):
                stem = f"{city}_{frame}"
                image(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png")
                labels = values(0) if split == "test" else values(*CITYSCAPES_LABELS)
                mask(root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png", labels)
                mask(root / "gtFine" / split / city / f"{stem}_gtFine_instanceIds.png", labels)
                (root / "gtFine" / split / city / f"{stem}_gtFine_polygons.json").write_text("{}")
    (root / "leftImg8bit" / "train" / "aachen" / "._aachen_000000_000019_leftImg8bit.png").write_bytes(b"\0\5\x16\7")
    (root / "leftImg8bit" / "train" / ".DS_Store").write_bytes(b"\0")
    return root


VOC_TRAIN = tuple(f"2007_{number:06d}" for number in range(21))
VOC_VAL = ("2008_000001", "2008_000002")
SBD_ONLY = ("2009_000001", "2010_000002")


def voc(root: Path) -> Path:
    """Palette masks with the void 255; images without masks; one grey image."""
    base = root / "VOCdevkit" / "VOC2012"
    for name in (*VOC_TRAIN, *VOC_VAL, *SBD_ONLY, "2011_000009"):
        image(base / "JPEGImages" / f"{name}.jpg", mode="L" if name == VOC_TRAIN[0] else "RGB")
    for name in (*VOC_TRAIN, *VOC_VAL):
        mask(base / "SegmentationClass" / f"{name}.png", values(0, 15, 255, 20), palette=True)
    lists = base / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, names in {"train": VOC_TRAIN, "val": VOC_VAL, "trainval": VOC_TRAIN + VOC_VAL, "test": ("2008_000006",)}.items():
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    return root


def sbd_mat(root: Path) -> None:
    """SBD's own files: structures of MATLAB. Its lists overlap with those of VOC."""
    from scipy.io import savemat

    folder = root / "VOCdevkit" / "VOC2012" / "benchmark_RELEASE" / "dataset"
    (folder / "cls").mkdir(parents=True)
    (folder / "train.txt").write_text("\n".join((VOC_TRAIN[0], SBD_ONLY[0], VOC_VAL[0])) + "\n")
    (folder / "val.txt").write_text(f"{SBD_ONLY[1]}\n")
    for name in (VOC_TRAIN[0], VOC_VAL[0], *SBD_ONLY):
        structure = {"Boundaries": np.zeros((20, 1)), "Segmentation": values(0, 7), "CategoriesPresent": np.array([[7]], np.uint8)}
        savemat(folder / "cls" / f"{name}.mat", {"GTcls": structure})


def sbd_png(root: Path) -> None:
    """The same as grey PNGs, with the list in the form of DeepLab's."""
    base = root / "VOCdevkit" / "VOC2012"
    lines = []
    for name in (*VOC_TRAIN, *SBD_ONLY):
        mask(base / "SegmentationClassAug" / f"{name}.png", values(0, 7))
        lines.append(f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png")
    (base / "ImageSets" / "Segmentation" / "trainaug.txt").write_text("\n".join(lines) + "\n")


PETS_TRAINVAL = tuple(f"Abyssinian_{number}" for number in range(1, 21))
PETS_TEST = ("saint_bernard_7", "Abyssinian_34")


def pets(root: Path) -> Path:
    """Write trimaps of 1, 2 and 3, images that are in fact PNG or GIF, a list with comments, and macOS's files.

    macOS's files are among the trimaps.
    """
    odd = {"Abyssinian_3": ("RGBA", "PNG"), "Abyssinian_34": ("P", "GIF"), "Abyssinian_5": ("L", "JPEG")}
    for name in (*PETS_TRAINVAL, *PETS_TEST):
        image(root / "images" / f"{name}.jpg", *odd.get(name, ("RGB", "JPEG")))
        mask(root / "annotations" / "trimaps" / f"{name}.png", values(1, 2, 3))
        (root / "annotations" / "trimaps" / f"._{name}.png").write_bytes(b"\0\5\x16\7")
    (root / "images" / "Abyssinian_100.mat").write_bytes(b"\0")
    (root / "annotations" / "trainval.txt").write_text("#Image CLASS-ID\n" + "".join(f"{name} 1 1 1\n" for name in PETS_TRAINVAL))
    (root / "annotations" / "test.txt").write_text("".join(f"{name} 1 1 1\n" for name in PETS_TEST))
    return root


def ade20k(root: Path) -> Path:
    """Grey masks of 0…150, of which 0 is void; one grey image."""
    base = root / "ADEChallengeData2016"
    for split, count in {"training": 20, "validation": 3}.items():
        for number in range(1, count + 1):
            name = f"ADE_{split[:5].removesuffix('i')}_{number:08d}"
            image(base / "images" / split / f"{name}.jpg", mode="L" if number == 1 else "RGB")
            mask(base / "annotations" / split / f"{name}.png", values(0, 1, 150))
    (base / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n")
    return root


CATEGORIES = [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
"""Out of order, and with gaps; their labels are person 1, dog 2, toothbrush 3."""


def box(x: int, y: int, columns: int, rows: int) -> list[list[float]]:
    """Return the polygon of a rectangle."""
    return [[x, y, x + columns, y, x + columns, y + rows, x, y + rows]]


def annotation(number: int, image_id: int, category: int, segmentation: Any, iscrowd: int = 0) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "iscrowd": iscrowd,
        "area": 1.5,
        "bbox": [0, 0, 1, 1],
        "segmentation": segmentation,
    }


def coco(
    root: Path, objects: list[dict[str, Any]], year: str = "2017", splits: tuple[str, ...] = ("train", "val"), count: int = 20
) -> Path:
    """`count` images a split, of which number 1 is grey; number 2 has the objects.

    Names of the second split begin at 101, and so on.
    """
    for hundred, split in enumerate(splits):
        images = []
        for number in range(count, 0, -1):
            name = f"{100 * hundred + number:012d}.jpg"
            image(root / f"{split}{year}" / name, mode="L" if number == 1 else "RGB")
            images.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1], "license": 1})
        content = {"info": {}, "licenses": [], "images": images, "annotations": objects, "categories": CATEGORIES}
        (root / "annotations").mkdir(parents=True, exist_ok=True)
        (root / "annotations" / f"instances_{split}{year}.json").write_text(json.dumps(content))
    return root
