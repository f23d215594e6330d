"""Parts of published data sets: find them on disk, read their lists, hold out samples if test masks are not public."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from seglab.data.reading.read import opened
from seglab.data.sources.files import Pair, PairedFiles
from seglab.sample import Sample

T = TypeVar("T")


class RGBFiles(PairedFiles):
    """Pairs of files whose grey images become RGB by repetition, for data sets with a few grey images among RGB."""

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        return sample._replace(image=rgb(sample.image))


def rgb(image: Tensor) -> Tensor:
    """Return an image (C,H,W) of one channel as (3,H,W), and any other image as it is."""
    return image.expand(3, -1, -1) if image.shape[0] == 1 else image


def folder_of(root: Path, inner: Sequence[str], needed: str, layout: str) -> Path:
    """Return the first of root/inner[0], root/inner[1], …, root that contains the folder `needed`.

    Args:
        root: the folder that the user names.
        inner: paths below `root` at which the data set may lie.
        needed: path of a folder that the data set has.
        layout: the expected files and how to get them, for the error message.

    Raises:
        ValueError: none of the places has this folder.
    """
    places = [*(root / one for one in inner), root]
    for place in places:
        if (place / needed).is_dir():
            return place
    raise ValueError(f"{root}: there is no folder {(places[0] / needed).relative_to(root)} in it; expected {layout}")


def require_folders(folders: Sequence[Path], layout: str) -> None:
    """Raise a ValueError that tells the expected layout if a folder does not exist."""
    if missing := [folder for folder in folders if not folder.is_dir()]:
        raise ValueError(f"{missing[0]}: no such folder; expected {layout}")


def listed(file: Path, layout: str) -> list[str]:
    """Return the names in a list of one sample a line: the first word of each line, without folders and ending.

    `#` begins a comment.

    Raises:
        ValueError: the list is missing, cannot be read, names no sample, or names a sample twice.
    """
    if not file.is_file():
        raise ValueError(f"{file}: no such file; expected {layout}")
    with opened(file, "a list of samples", "its split") as stream:
        lines = [line.split() for line in stream.read().decode().splitlines()]
    names = [Path(words[0]).name.removesuffix(Path(words[0]).suffix) for words in lines if words and not words[0].startswith("#")]
    if not names:
        raise ValueError(f"{file}: names no sample; expected one a line: replace the file by the official one")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{file}: names {twice} twice; expected each sample once: replace the file by the official one")
    return names


def require_files(pairs: Sequence[Pair], layout: str) -> None:
    """Check that the files of all pairs exist.

    Each folder is listed once, because thousands of single questions are slow on a network.

    Raises:
        ValueError: there are no pairs, or files are missing. The message names the first missing file and the number of
            others.
    """
    if not pairs:
        raise ValueError(f"no samples; expected {layout}")
    files = [file for pair in pairs for file in pair]
    there = {file for folder in {file.parent for file in files} if folder.is_dir() for file in folder.iterdir()}
    if missing := [file for file in files if file not in there]:
        more = f" ({len(missing) - 1} other files are missing too)" if len(missing) > 1 else ""
        raise ValueError(f"{missing[0]}: no such file{more}; expected {layout}")


def held_out(items: Sequence[T], every: int) -> tuple[list[T], list[T]]:
    """Split an ordered sequence into the items that are kept and every `every`-th item, which is held out.

    >>> held_out("abcdefg", 3)
    (['a', 'b', 'd', 'e', 'g'], ['c', 'f'])
    """
    kept = [item for place, item in enumerate(items, start=1) if place % every]
    return kept, [item for place, item in enumerate(items, start=1) if place % every == 0]


def colours(text: str) -> npt.NDArray[np.uint8]:
    """Return (C,3) uint8 colours of words of six hexadecimal digits.

    >>> colours("80ff00 000001").tolist()
    [[128, 255, 0], [0, 0, 1]]
    """
    return np.array([list(bytes.fromhex(word)) for word in text.split()], np.uint8)
