"""Samples from items (image, mask) of other libraries, by the rules that hold for files: see `docs/howto/data.md`."""

import hashlib
import threading
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from seglab.data.arrays import Array, as_tensor
from seglab.data.reading import pillow
from seglab.data.reading.formats import FORMATS
from seglab.data.reading.read import decoded_image, decoded_mask, image_of, mask_of, read_image, read_mask, reason
from seglab.data.reading.stored import UnusableError, upright
from seglab.data.sources.labels import labels
from seglab.data.threads import in_threads
from seglab.sample import Sample

_LOSSY = {known.name: known.why_no_mask for known in FORMATS if known.mask is None} | {"WEBP": "WebP is usually lossy"}

_ONE_AT_A_TIME = threading.Lock()
"""Held while a library reads an item: the check reads in threads, and a data set may share one file among its items."""


class Indexed(Protocol):
    """Items (image, mask) by index."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, index: int, /) -> Any:
        """Return item `index`: an image and its mask."""


class Items(Dataset[Sample]):
    """One split of items (image, mask).

    An image or a mask is a PIL image, an array, a tensor, the bytes of a file, or a path.

    Args:
        items: the items by index.
        place: name of the split. The name of a sample is this name with the index in brackets.
        class_names: names of the C classes, in the order of the labels.
        void: label, besides 255, that is ignored.
    """

    def __init__(self, items: Indexed, place: str, class_names: tuple[str, ...], void: int | None) -> None:
        self.items, self.place, self.class_names, self.void = items, place, class_names, void

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        image, mask = self._parts(index)
        where = self.mask_file(index)
        pixels, stored = _read(image, where, "image"), _read(mask, where, "mask")
        _check_channels_last(image, pixels, stored, where)
        return Sample(as_tensor(pixels), torch.from_numpy(labels(stored, self.void, where)), str(where))

    def mask_file(self, index: int) -> Path:
        """Return the name of sample `index` in place of a file, such as train[12]: errors name it."""
        return Path(f"{self.place}[{index}]")

    def fingerprint(self) -> str:
        """Return a hash of all images and masks.

        Raises:
            ValueError: an item differs between two readings.
        """
        return self.fingerprint_of(range(len(self)))

    def fingerprint_of(self, indices: Sequence[int]) -> str:
        """Return the `fingerprint` of a data set of only the samples `indices`."""
        hashes = list(in_threads(lambda place: self._hash(indices[place]), len(indices)))
        if indices and self._hash(indices[0]) != hashes[0]:
            raise ValueError(
                f"{self.mask_file(indices[0])}: differs between two readings; expected the same item at every call: make the data set without "
                "random transforms, augmentation is --data.augmentation"
            )
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]

    def _hash(self, index: int) -> str:
        digest = hashlib.sha256()
        for part, what in zip(self._parts(index), ("image", "mask"), strict=True):
            content = _bytes_of(part)
            if content is None:
                array = _read(part, self.mask_file(index), what)
                content = f"{array.shape}{array.dtype}".encode() + array.tobytes()
            digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()

    def _parts(self, index: int) -> tuple[Any, Any]:
        """Return image and mask of an item: a pair, or a mapping with the keys image and mask."""
        with _ONE_AT_A_TIME:
            item = self.items[index]
        if isinstance(item, dict) and {"image", "mask"} <= item.keys():
            return item["image"], item["mask"]
        if isinstance(item, tuple | list) and len(item) == 2:
            return item[0], item[1]
        found = f"{len(item)} parts" if isinstance(item, tuple | list) else f"a {type(item).__name__}"
        raise ValueError(f"{self.mask_file(index)}: is {found}; expected a pair (image, mask), or a dict with the keys image and mask")


def _bytes_of(part: Any) -> bytes | None:
    """Return the bytes of a file that an item holds or names; None for pixels."""
    if isinstance(part, str | Path):
        return Path(part).read_bytes()
    return part if isinstance(part, bytes) else None


def _read(part: Any, where: Path, what: str) -> Array:
    """Return an image (H,W,C), or a mask (H,W), of any kind.

    Raises:
        ValueError: it cannot be read or used. The message begins with `where`.
    """
    image = what == "image"
    try:
        if isinstance(part, str | Path):
            return read_image(Path(part)) if image else read_mask(Path(part))
        if isinstance(part, bytes):
            return decoded_image(BytesIO(part)) if image else decoded_mask(BytesIO(part))
        if isinstance(part, Image.Image):
            return image_of(_shown(part)) if image else mask_of(_indices(part))
        pixels = _channels_last(part.detach().cpu()) if isinstance(part, Tensor) else np.asarray(part)
        if pixels.dtype == np.object_:
            raise UnusableError(f"a {type(part).__name__}; expected a PIL image, an array, a tensor, the bytes of a file, or a path")
        return image_of(pixels) if image else mask_of(pixels)
    except UnusableError as error:
        raise ValueError(f"{where}: {error}") from error
    except Exception as error:
        raise ValueError(f"{where}: its {what} cannot be read ({reason(error)}): correct the data set") from error


def _channels_last(tensor: Tensor) -> Array:
    """Return a tensor (H,W) or (C,H,W) as an array (H,W) or (H,W,C)."""
    return np.asarray((tensor.permute(1, 2, 0) if tensor.ndim == 3 else tensor).numpy())


def _shown(picture: Image.Image) -> Array:
    """Return the pixels of an image (H,W) or (H,W,C), upright and without transparency.

    Palettes and other colour spaces become RGB.
    """
    if picture.mode not in ("L", "RGB", "I", "F") and not picture.mode.startswith("I;16"):
        converted = picture.copy()
        converted.info.pop("transparency", None)
        converted = converted.convert("L" if picture.mode in ("1", "LA", "La") else "RGB")
        return upright(pillow.stored(picture, np.array(converted)))
    return upright(pillow.stored(picture, np.array(picture)))


def _indices(picture: Image.Image) -> Array:
    """Return the values of a mask as they are stored: the indices of a palette, not its colours."""
    if picture.format in _LOSSY:
        raise UnusableError(
            f"a mask as {picture.format}; {_LOSSY[picture.format]}: export the mask again in a lossless format, such as PNG"
        )
    return upright(pillow.stored(picture, np.array(picture)))


def _check_channels_last(part: Any, image: Array, mask: Array, where: Path) -> None:
    """Refuse an array (C,H,W): the channels of an array are its last axis, those of a tensor its first."""
    if not isinstance(part, Tensor) and image.shape[:2] != mask.shape and image.shape[1:] == mask.shape:
        raise ValueError(
            f"{where}: the image is an array {image.shape}, its mask {mask.shape}; expected rows × columns × channels: transpose it"
        )
