"""The images that a command line names, and the names of their outputs."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from seglab.data.arrays import Array
from seglab.data.reading.formats import ENDINGS, OTHER_ENDINGS
from seglab.data.reading.read import decoded_image, opened
from seglab.data.sources.files import composed
from seglab.data.sources.patterns import walk


class Named(NamedTuple):
    """An image file, and the name of its outputs without ending, which may have folders."""

    file: Path
    name: str


class ChannelsError(ValueError):
    """An image has another number of channels than the network takes."""


def named_images(words: Sequence[str], output: Path) -> list[Named]:
    """Return the images that are named: files, patterns such as "D/**/*.png", and folders with their subfolders.

    The name of a file's outputs is its own. Below a folder that is named, it is the path from this folder. Files below
    `output` and hidden files are left out of folders. Everything else with the ending of an image is named, so that
    links to nowhere and pipes are not left out in silence.

    Raises:
        ValueError: a word names no image, a subfolder cannot be listed, or the outputs of two images would have one
            name.
    """
    found: dict[str, Path] = {}
    for word in words:
        for file, name in _of_word(word, output):
            before = found.setdefault(composed(name), file)
            if os.path.realpath(before) != os.path.realpath(file):  # `resolve` fails on a link to itself
                raise ValueError(
                    f"{before} and {file} would both become {name}.png: rename one, write them to two outputs, or name their common folder, "
                    "whose subfolders are kept"
                )
    return [Named(file, name) for name, file in found.items()]


def _of_word(word: str, output: Path) -> list[Named]:
    path = Path(word)
    if path.is_dir():
        within = sorted(path / name for name in walk(path) if Path(name).suffix.lower() in ENDINGS | OTHER_ENDINGS)
        own = os.path.realpath(output)
        files = [file for file in within if not Path(os.path.realpath(file.parent)).is_relative_to(own)]
        if not files:
            raise ValueError(f"{path}: no images in it (endings {', '.join(sorted(ENDINGS))})")
        return [Named(file, file.relative_to(path).with_suffix("").as_posix()) for file in files]
    files = [path] if path.is_symlink() or path.exists() else _matches(path)
    if not files:
        raise ValueError(f"{word}: no such file or folder, and no file fits it as a pattern; expected images")
    return [Named(file, file.stem) for file in files]


def _matches(pattern: Path) -> list[Path]:
    """Return the files that fit a pattern, sorted, without hidden ones."""
    found = Path(pattern.anchor).glob(pattern.relative_to(pattern.anchor).as_posix() or "*")
    return sorted(file for file in found if not file.name.startswith(".") and not file.is_dir())


def read(file: Path, channels: int) -> Array:
    """Read an image (H,W,C), uint8, uint16 or float32, with the number of channels that a network takes.

    For a network of three channels, an image of one channel is read too.

    Raises:
        ChannelsError: the image has another number of channels.
        ValueError: the image cannot be read. Both messages name the file.
    """
    with opened(file, "an image", None) as stream:
        pixels = decoded_image(stream)
    if pixels.shape[2] != channels and (pixels.shape[2], channels) != (1, 3):
        raise ChannelsError(
            f"{file}: has {pixels.shape[2]} channels, and the network takes {channels}: predict images like those of the training"
        )
    return pixels


def check_channels(images: Sequence[Named], channels: int, *, is_first: bool) -> None:
    """Refuse images at once that do not have the number of channels that the network takes.

    Args:
        images: the images; the ones that cannot be read are passed over, and named when their turn comes.
        channels: the number of channels that the network takes.
        is_first: nothing has been predicted before. Then the first readable image must have this number of channels,
            else any one of them.

    Raises:
        ChannelsError: the first readable image has another number, or each of them.
    """
    wrong: ChannelsError | None = None
    for image in images:
        try:
            read(image.file, channels)
            return
        except ChannelsError as error:
            if is_first:
                raise
            wrong = error if wrong is None else wrong
        except ValueError:
            continue
    if wrong is not None:
        raise wrong


def tensor(pixels: Array) -> Tensor:
    """Return an image (H,W,C) as a tensor (1,C,H,W) over the same memory."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # nothing writes to it
        return torch.from_numpy(pixels).permute(2, 0, 1)[None]
