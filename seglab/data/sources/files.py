"""Samples from pairs of files: an image, and a mask whose pixel values are class indices."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch.utils.data import Dataset

from seglab.data.arrays import as_tensor
from seglab.sample import IGNORE, Sample

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})


class Pair(NamedTuple):
    """An image and its mask."""

    image: Path
    mask: Path


class PairedFiles(Dataset[Sample]):
    """One split of a data set on disk. The name of a sample is the path of its image below `root`.

    Args:
        root: folder from which names of samples are relative paths, so that names do not depend on where the data lie.
        pairs: files of the images and masks.
        class_names: names of the C classes, in the order of the labels.
        void: label in the files, besides 255, that means "not annotated" and is read as `IGNORE`.
    """

    def __init__(self, root: Path, pairs: Sequence[Pair], class_names: tuple[str, ...], void: int | None = None) -> None:
        self.root, self.pairs, self.class_names, self.void = root, pairs, class_names, void

    @property
    def num_classes(self) -> int:
        """C, the number of classes without void."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        mask = read_mask(pair.mask)
        if self.void is not None:
            mask = np.where(mask == self.void, np.uint8(IGNORE), mask)
        return Sample(as_tensor(read_image(pair.image)), torch.from_numpy(mask), self._name(pair.image))

    def mask_file(self, index: int) -> Path:
        """Return the file of the mask of sample `index`."""
        return self.pairs[index].mask

    def fingerprint(self) -> str:
        """Return a hash of the file names below `root`, the images' sizes in bytes, and the masks' contents.

        Masks are hashed in full, because they are small and are corrected more often than images.
        """
        return self.fingerprint_of(range(len(self)))

    def fingerprint_of(self, indices: Sequence[int]) -> str:
        """Return the `fingerprint` of a data set of only the samples `indices`."""
        lines = []
        for image, mask in (self.pairs[index] for index in indices):
            content = hashlib.sha256(mask.read_bytes()).hexdigest()
            lines += [f"{self._name(image)} {image.stat().st_size}", f"{self._name(mask)} {content}"]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def _name(self, file: Path) -> str:
        return file.relative_to(self.root).as_posix()


def read_image(file: Path) -> npt.NDArray[Any]:
    """Read an image as a viewer shows it: (H,W,C) uint8, uint16 or float32.

    Grey images have one channel. 16-bit and float images keep their dtype. Transparency is dropped. Palettes and other colour spaces
    become RGB. A camera's orientation flag (EXIF) is applied, because masks are drawn over the image as a viewer shows it.

    Raises:
        ValueError: the file is no image, or is damaged. The message names the file.
    """
    try:
        with Image.open(file) as image:
            if image.mode in ("RGB", "RGBA") and _has_16_bits(image):
                array = _read_16_bit_colours(file)
            else:
                array = np.array(_supported(ImageOps.exif_transpose(image)))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file}: cannot be read as an image ({error}): replace the file, or remove it with its mask") from error
    return array[..., None] if array.ndim == 2 else array


def read_mask(file: Path) -> npt.NDArray[np.uint8]:
    """Read a mask (H,W) of class indices. The indices of a palette image are read, not its colours.

    Raises:
        ValueError: the file is no image, has several channels, or labels above 255.
    """
    try:
        with Image.open(file) as image:
            mode, array = image.mode, np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file}: cannot be read as a mask ({error}): replace the file, or remove it with its image") from error
    if array.ndim != 2:
        raise ValueError(
            f"{file}: a mask of {array.shape[2]} channels ({mode}); expected one, of class indices: convert colours to indices"
        )
    if array.dtype == np.bool_ or array.dtype == np.uint8:
        return array.astype(np.uint8)
    if array.min() < 0 or array.max() > IGNORE or np.any(array != array.astype(np.uint8)):
        raise ValueError(
            f"{file}: values {array.min()}…{array.max()} ({mode}); expected class indices 0…{IGNORE}: save the mask with 8 bits"
        )
    return array.astype(np.uint8)


def _supported(image: Image.Image) -> Image.Image:
    """Return the image in a mode that has one or three channels."""
    if image.mode in ("L", "RGB", "F") or image.mode.startswith("I;16"):
        return image
    if image.mode == "I":
        raise ValueError("32-bit integers; expected 8 or 16 bits, or floats")
    return image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")


def _has_16_bits(image: Image.Image) -> bool:
    """Return whether the file has 16-bit colours, which Pillow cuts to 8 bits without a warning."""
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", []))


def _read_16_bit_colours(file: Path) -> npt.NDArray[Any]:
    """Read (H,W,3) uint16 in the order RGB."""
    array = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError("OpenCV finds no 16-bit colours in it")
    return np.ascontiguousarray(np.asarray(array)[..., 2::-1])
