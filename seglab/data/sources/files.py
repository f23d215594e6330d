"""Samples from pairs of files: an image, and a mask whose pixel values are class indices."""

import hashlib
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from seglab.data.arrays import as_tensor
from seglab.data.reading.read import opened, read_coloured_mask, read_image, read_mask
from seglab.data.sources.labels import Colour, classes_of_colours, labels, mapped
from seglab.sample import Sample


class Pair(NamedTuple):
    """An image and its mask."""

    image: Path
    mask: Path


class PairedFiles(Dataset[Sample]):
    """One split of a data set on disk.

    The name of a sample is the path of its image below `root`, in the composed form of Unicode (NFC).

    Args:
        root: folder from which names of samples are relative paths, so that names do not depend on where the data lie.
        pairs: files of the images and masks.
        class_names: names of the C classes, in the order of the labels.
        void: label in the files, besides 255, that means "not annotated" and is read as `IGNORE`. It may be -1 in masks
            of signed integers, or above 255 in masks of more than 8 bits.
        table: the class of each label in the files, `IGNORE` for none; None if the files hold class indices. 255 is
            ignored unless the table names it, and any other label that is not in the table is refused.
        colours: the class of each colour (red, green, blue) of masks in colours, `IGNORE` for none. A mask of one
            channel is then read by its labels if there is a `table`, else by the colours in which it is shown, as those
            of a palette.
    """

    def __init__(
        self,
        root: Path,
        pairs: Sequence[Pair],
        class_names: tuple[str, ...],
        void: int | None = None,
        table: Mapping[int, int] | None = None,
        colours: Mapping[Colour, int] | None = None,
    ) -> None:
        self.root, self.pairs, self.class_names, self.void, self.table, self.colours = root, pairs, class_names, void, table, colours

    @property
    def num_classes(self) -> int:
        """C, the number of classes without void."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        return Sample(as_tensor(read_image(pair.image)), torch.from_numpy(self.mask(index)), self._name(pair.image))

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """Read the mask of sample `index` without its image: the class (H,W) of each pixel."""
        file = self.pairs[index].mask
        stored = read_mask(file) if self.colours is None else read_coloured_mask(file, keep_labels=self.table is not None)
        if self.colours is not None and stored.ndim == 3:
            return classes_of_colours(stored, self.colours, self.class_names, file)
        return labels(stored, self.void, file) if self.table is None else mapped(stored, self.void, self.table, file)

    def mask_file(self, index: int) -> Path:
        """Return the file of the mask of sample `index`."""
        return self.pairs[index].mask

    def fingerprint(self) -> str:
        """Return a hash of the file names below `root`, the images' sizes in bytes, and the masks' contents.

        Masks are hashed in full, because they are small and are corrected more often than images. A table of labels or
        colours is hashed too.
        """
        return self.fingerprint_of(range(len(self)))

    def fingerprint_of(self, indices: Sequence[int]) -> str:
        """Return the `fingerprint` of a data set of only the samples `indices`."""
        tables = [table for table in (self.table, self.colours) if table is not None]
        lines = [str(sorted(table.items())) for table in tables]
        for image, mask in (self.pairs[index] for index in indices):
            with opened(image, "an image", "its mask") as stream:
                size = os.fstat(stream.fileno()).st_size
            with opened(mask, "a mask", "its image") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            lines += [f"{self._name(image)} {size}", f"{self._name(mask)} {content}"]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def _name(self, file: Path) -> str:
        return composed(file.relative_to(self.root).as_posix())


def composed(name: str) -> str:
    """Return a name in the composed form of Unicode (NFC).

    Some systems write names in the decomposed form, so that é is e and an accent.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def utf8(name: str, folder: Path) -> str:
    """Return the name of a file in a folder. Hashes, records and messages hold it in UTF-8.

    Raises:
        ValueError: it holds bytes that are not UTF-8, as names from an old archive may.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{folder}: the name {os.fsencode(name)!r} in it is not UTF-8: rename the file, and its partner alike") from None
    return name
