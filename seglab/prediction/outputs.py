"""Files of a prediction: the mask of each image, and on request a picture of it and the probabilities.

Each is written whole or not at all.
"""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib import format as npy
from PIL import Image, PngImagePlugin
from torch import Tensor

from seglab.data.arrays import Array, visible
from seglab.data.reading.stored import forget
from seglab.files import atomic_write
from seglab.records import write_json, write_text

SETTINGS = "prediction.json"
"""Record of the checkpoint and the settings by which all masks of a folder are predicted."""

LARGEST_OVERLAY = 2048
"""Largest number of rows and columns of an overlay. A larger image is shown by every second, third, … pixel."""

_SOURCE = "seglab-image"
"""Key of a mask's text that says which image it belongs to."""

Mask = npt.NDArray[np.uint8]


class Outputs(NamedTuple):
    """Files of a prediction: their folder, and which there are."""

    folder: Path
    overlays: bool
    probabilities: bool

    def mask(self, name: str) -> Path:
        """Return the file of a mask."""
        return self.folder / "masks" / f"{name}.png"

    def overlay(self, name: str) -> Path:
        """Return the file of an overlay."""
        return self.folder / "overlays" / f"{name}.png"

    def probability(self, name: str) -> Path:
        """Return the file of the probabilities."""
        return self.folder / "probabilities" / f"{name}.npz"

    def has_masks(self) -> bool:
        """Return whether an image has been predicted before."""
        return any(file.is_file() for file in (self.folder / "masks").rglob("*.png"))

    def are_done(self, name: str, image: Path) -> bool:
        """Return whether all files of an image are there, and the image has not changed since."""
        others = [self.overlay(name)] * self.overlays + [self.probability(name)] * self.probabilities
        if not self.mask(name).is_file() or not all(file.is_file() for file in others):
            return False
        try:
            with Image.open(self.mask(name)) as mask:
                return mask.info.get(_SOURCE) == state_of(image)
        except OSError:
            return False


def settle(folder: Path, settings: dict[str, Any], class_names: Sequence[str], palette: Mask) -> None:
    """Make the folder of a prediction, or check that it belongs to the same prediction.

    Raises:
        ValueError: the folder has masks of another checkpoint or other settings, or files of another kind.
    """
    path = folder / SETTINGS
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"--output: {folder} exists and holds no prediction (no {SETTINGS} in it): give a new or an empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        rows = io.StringIO()
        table = csv.writer(rows, lineterminator="\n")
        table.writerows(
            [("index", "name", "red", "green", "blue"), *((index, name, *palette[index]) for index, name in enumerate(class_names))]
        )
        write_text(folder / "classes.csv", rows.getvalue())
        write_json(path, settings)
        return
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
        found = [
            f"{key}: {recorded.get(key)} → {value}" for key, value in settings.items() if key != "checkpoint" and recorded.get(key) != value
        ]
    except (ValueError, AttributeError):
        raise ValueError(f"{path}: damaged; delete the folder, or give another --output") from None
    if found:
        raise ValueError(f"--output: {folder} holds masks of another prediction ({'; '.join(found)}): give another folder, or delete it")


def state_of(image: Path) -> str:
    """Return size and time of change of an image file.

    A mask keeps them, so that the mask of a replaced image is predicted again.
    """
    found = image.stat()
    return f"{found.st_size} bytes, changed {found.st_mtime_ns} ns"


def write_mask(path: Path, mask: Mask, palette: Mask, image: Path) -> None:
    """Write a mask (H,W) of class indices as a palette PNG."""
    picture = Image.frombuffer("P", (mask.shape[1], mask.shape[0]), mask, "raw", "P", 0, 1)
    picture.putpalette(palette.tobytes())
    text = PngImagePlugin.PngInfo()
    text.add_text(_SOURCE, state_of(image))
    _write(path, lambda file: picture.save(file, format="PNG", pnginfo=text))


def write_overlay(path: Path, image: Array, mask: Mask, palette: Mask) -> None:
    """Write the image (H,W,C) under the colours of its classes, each with half the weight."""
    step = -(-max(mask.shape) // LARGEST_OVERLAY)
    shown = visible(torch.from_numpy(_thinned(image, step)).permute(2, 0, 1))
    colours = palette[np.minimum(_thinned(mask, step), len(palette) - 1)]
    both = ((shown.astype(np.uint16) + colours) // 2).astype(np.uint8)
    _write(path, lambda file: Image.fromarray(both).save(file, format="PNG"))


def _thinned(pixels: Array, step: int) -> Array:
    """Return every `step`-th row and column of pixels.

    If the pixels are mapped from a file, only few rows at a time are in memory.
    """
    parts = []
    for top in range(0, len(pixels), 64 * step):
        parts.append(np.array(pixels[top : top + 64 * step : step, ::step]))
        forget(pixels)
    return np.concatenate(parts)


def _write(path: Path, save: Callable[[BinaryIO], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, durable=False) as file:
        save(file)


@contextmanager
def probabilities(path: Path, size: tuple[int, int], classes: int) -> Iterator[Callable[[Tensor], None]]:
    """Write probabilities (H,W,C) float16 into an .npz file, row by row, so that they are never in memory as a whole.

    Give the function that the context returns the logits (1,C,rows,W) of the next rows. One logit becomes two
    probabilities.
    """

    def add(logits: Tensor) -> None:
        both = torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits
        rows = both.float().softmax(1)[0].permute(1, 2, 0).half().contiguous().cpu().numpy()
        array.write(rows.astype("<f2", copy=False).tobytes())

    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        atomic_write(path, durable=False) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("probabilities.npy", "w", force_zip64=True) as array,
    ):
        npy.write_array_header_1_0(array, {"descr": "<f2", "fortran_order": False, "shape": (*size, classes)})
        yield add
