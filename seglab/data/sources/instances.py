"""Semantic masks drawn from COCO's instance annotations: polygons, and run lengths (RLE), which pycocotools decodes.

Format: https://cocodataset.org/#format-data, "Object Detection".
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from seglab.data.arrays import as_tensor
from seglab.data.reading.read import opened, read_image
from seglab.data.sources.files import composed
from seglab.data.sources.official import rgb
from seglab.sample import IGNORE, Sample


class _Category(msgspec.Struct):
    id: int
    name: str


class _Image(msgspec.Struct):
    id: int
    file_name: str
    height: int
    width: int


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int
    segmentation: msgspec.Raw
    iscrowd: int = 0


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


class _RunLengths(msgspec.Struct):
    size: tuple[int, int]
    counts: str | list[int]


Segment = tuple[int, list[list[float]] | _RunLengths]
"""Label of an object, and its outline: polygons x, y, x, y, … in pixels, or run lengths."""
_SEGMENTS = msgspec.json.Decoder(list[Segment])


class Annotated(NamedTuple):
    """An image and its objects."""

    file_name: str
    rows: int
    columns: int
    segments: bytes
    """The objects as JSON. Millions of small Python objects would be copied into each worker as it counts
    references.
    """


class Instances(NamedTuple):
    """The content of a file of instance annotations."""

    class_names: tuple[str, ...]
    """The background, then the categories in the order of their ids."""
    images: tuple[Annotated, ...]
    """The images, sorted by their file names."""


class InstanceMasks(Dataset[Sample]):
    """One split of a data set with instance annotations. Grey images become RGB.

    Args:
        annotations: the file of annotations, for error messages.
        folder: folder of the images. The name of a sample is the path of its image below the parent of this folder.
        class_names: names of the C classes, in the order of the labels.
        images: the images of the split.
    """

    def __init__(self, annotations: Path, folder: Path, class_names: tuple[str, ...], images: Sequence[Annotated]) -> None:
        self.annotations, self.folder, self.class_names, self.images = annotations, folder, class_names, images

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        annotated = self.images[index]
        image = rgb(as_tensor(read_image(self.folder / annotated.file_name)))
        return Sample(image, torch.from_numpy(drawn(annotated, str(self.mask_file(index)))), self._name(index))

    def mask_file(self, index: int) -> Path:
        """Return the file of annotations, with the name of the image of sample `index` after a colon."""
        return Path(f"{self.annotations}: {self.images[index].file_name}")

    def fingerprint(self) -> str:
        """Return a hash of the class names, and of each image's name, size in bytes and objects."""
        return self.fingerprint_of(range(len(self)))

    def fingerprint_of(self, indices: Sequence[int]) -> str:
        """Return the `fingerprint` of a data set of only the samples `indices`."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for index in indices:
            _, rows, columns, segments = self.images[index]
            with opened(self.folder / self.images[index].file_name, "an image", "its annotations") as stream:
                size = os.fstat(stream.fileno()).st_size
            digest.update(f"\n{self._name(index)} {size} {rows}×{columns} ".encode() + segments)
        return digest.hexdigest()[:16]

    def _name(self, index: int) -> str:
        return composed(f"{self.folder.name}/{self.images[index].file_name}")


def read_instances(file: Path) -> Instances:
    """Read a file of instance annotations.

    Raises:
        ValueError: the file is missing or no such JSON, or annotations, images and categories do not fit each other.
    """
    with opened(file, "COCO's instance annotations", "its images") as stream:
        status = os.fstat(stream.fileno())
    return _read(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)  # 450 MB of JSON are read once for all splits; size and time tell a changed file
def _read(file: Path, size: int, time: int) -> Instances:
    with opened(file, "COCO's instance annotations", "its images") as stream:
        content = msgspec.json.decode(stream.read(), type=_File)
    categories = sorted(content.categories, key=lambda category: category.id)
    label_of = {category.id: label for label, category in enumerate(categories, start=1)}
    if len(label_of) < len(categories) or not categories:
        raise ValueError(f"{file}: {len(categories)} categories with {len(label_of)} different ids; expected one id each: correct the file")
    objects: dict[int, list[tuple[int, msgspec.Raw]]] = {image.id: [] for image in content.images}
    if len(objects) < len(content.images):
        raise ValueError(f"{file}: {len(content.images)} images with {len(objects)} different ids; expected one id each: correct the file")
    for place, annotation in enumerate(content.annotations):
        if annotation.image_id not in objects or annotation.category_id not in label_of:
            what = "image" if annotation.image_id not in objects else "category"
            number = annotation.image_id if what == "image" else annotation.category_id
            raise ValueError(f"{file}: annotation {place} belongs to the {what} {number}, which the file does not list: correct the file")
        label = IGNORE if annotation.iscrowd else label_of[annotation.category_id]
        objects[annotation.image_id].append((label, annotation.segmentation))
    images = [
        Annotated(image.file_name, image.height, image.width, msgspec.json.encode(objects[image.id]))
        for image in sorted(content.images, key=lambda image: image.file_name)
    ]
    return Instances(("background", *(category.name for category in categories)), tuple(images))


def drawn(annotated: Annotated, where: str) -> npt.NDArray[np.uint8]:
    """Draw the objects of an image into a mask (H,W) uint8.

    Crowds (label `IGNORE`) lie below the objects. Of two objects that overlap, the one with fewer pixels is on top.
    Otherwise a small object on a large one, such as a fork on a table, would be hidden. Of two with equally many
    pixels, the later one is on top.

    Raises:
        ValueError: an outline is damaged. The message begins with `where`.
    """
    shape = (annotated.rows, annotated.columns)
    try:
        objects = [(label, _covered(outline, *shape)) for label, outline in _SEGMENTS.decode(annotated.segments)]
    except Exception as error:  # damaged run lengths may raise anything
        raise ValueError(f"{where}: an outline is damaged ({error}): correct or remove its annotation") from error
    mask = np.zeros(shape, np.uint8)
    for label, pixels in sorted(objects, key=lambda one: (one[0] != IGNORE, -np.count_nonzero(one[1]))):
        mask[pixels] = label
    return mask


def _covered(outline: list[list[float]] | _RunLengths, rows: int, columns: int) -> npt.NDArray[np.bool_]:
    """Return the pixels (H,W) bool that an object covers."""
    coder = run_length_coder()
    if isinstance(outline, _RunLengths):
        if outline.size != (rows, columns):
            raise ValueError(f"run lengths of {outline.size[0]}×{outline.size[1]} pixels for an image of {rows}×{columns}")
        coded: Mapping[str, Any] = {"size": [rows, columns], "counts": outline.counts}
        if isinstance(outline.counts, list):
            if min(outline.counts, default=0) < 0 or sum(outline.counts) != rows * columns:
                raise ValueError(f"run lengths of {sum(outline.counts)} pixels; expected {rows * columns}")
            coded = coder.frPyObjects(coded, rows, columns)
    else:
        if not outline or any(len(polygon) < 6 or len(polygon) % 2 for polygon in outline):
            raise ValueError("a polygon needs at least three points, x and y each")
        coded = coder.merge(coder.frPyObjects(outline, rows, columns))
    return np.asarray(coder.decode(coded), np.bool_)


def run_length_coder() -> Any:
    """Return pycocotools' module of run lengths.

    Raises:
        ImportError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask
    except ModuleNotFoundError as error:
        raise ImportError("COCO's annotations are decoded by pycocotools, which is not installed: pip install 'seglab[coco]'") from error
    return mask
