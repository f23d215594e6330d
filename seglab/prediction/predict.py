"""Predict images one after another: read, compute by windows, write. Memory does not grow with the number of images."""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seglab.data.arrays import Array
from seglab.data.reading.stored import empty, forget
from seglab.data.sources.dataset import default_palette
from seglab.networks import TrainedNetwork
from seglab.networks.checkpoint import checked_classes
from seglab.prediction.images import Named, read, tensor
from seglab.prediction.outputs import Mask, Outputs, probabilities, write_mask, write_overlay
from seglab.prediction.views import Views
from seglab.windows import Windows


@dataclass(frozen=True)
class Predictor:
    """A network on its device, and how it sees an image."""

    network: TrainedNetwork
    windows: Windows | None = None
    views: Views = field(default_factory=Views)
    half: bool = False
    """True if a GPU computes in 16 bits (float16)."""

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self.network.mean.device

    @property
    def palette(self) -> Mask:
        """(C,3) colours of the classes."""
        known = self.network.palette
        return default_palette(len(self.network.class_names)) if known is None else np.array(known, np.uint8)

    def bands(self, image: Tensor) -> Iterator[Tensor]:
        """Yield the logits (1,C,rows,W) of an image (1,C,H,W) in bands of rows.

        Raises:
            ValueError: the network cannot compute an image of this size, or memory does not suffice.
        """
        logits = self.network.bands(image, self.windows, self.views.averaged(self._of_network))
        while True:
            try:
                band = next(logits, None)
            except (RuntimeError, AssertionError) as error:  # of sizes that the network does not take, and of memory
                reason = " ".join(str(error).split())[:300] or type(error).__name__
                rows, columns = image.shape[-2:]
                raise ValueError(f"the network fails on {rows}×{columns} pixels ({reason}): choose another --window") from error
            if band is None:
                return
            yield band

    def _of_network(self, image: Tensor) -> Tensor:
        if not self.half:
            logits: Tensor = self.network(image)
            return logits
        with torch.autocast(self.device.type, dtype=torch.float16):
            halves: Tensor = self.network(image)
        return halves.float()


Seen = Callable[[float], None]
"""A function that is told the part of an image that has been computed, from 0 to 1."""


@torch.inference_mode()
def predict_image(predictor: Predictor, image: Named, outputs: Outputs, seen: Seen) -> None:
    """Predict one image and write its files, the mask last.

    Raises:
        ChannelsError: the image has another number of channels than the network takes.
        ValueError: the image cannot be read or predicted. The message names the file.
    """
    pixels = read(image.file, predictor.network.in_channels)
    forget(pixels)
    try:
        mask = _mask(predictor, pixels, outputs.probability(image.name) if outputs.probabilities else None, seen)
    except ValueError as error:
        raise ValueError(f"{image.file}: {error}") from error
    if outputs.overlays:
        write_overlay(outputs.overlay(image.name), pixels, mask, predictor.palette)
    write_mask(outputs.mask(image.name), mask, predictor.palette, image.file)


def _mask(predictor: Predictor, pixels: Array, archive: Path | None, seen: Seen) -> Mask:
    """Return the classes (H,W) of an image (H,W,C), and write the probabilities into `archive` if it is given."""
    height, width = pixels.shape[:2]
    mask: Mask = empty((height, width), np.uint8)
    top = 0
    image = tensor(pixels).expand(-1, predictor.network.in_channels, -1, -1)
    classes = len(predictor.network.class_names)
    with nullcontext() if archive is None else probabilities(archive, (height, width), classes) as add:
        for logits in predictor.bands(image):
            rows = logits.shape[-2]
            mask[top : top + rows] = checked_classes(logits)[0].byte().cpu().numpy()
            if add is not None:
                add(logits)
            top += rows
            forget(pixels)
            forget(mask)
            seen(top / height)
    return mask


def predict_all(
    predictor: Predictor, images: Sequence[Named], outputs: Outputs, progress: Callable[[float], None]
) -> tuple[int, list[str]]:
    """Predict the images that are not done, and call `progress` with the number of images that have been dealt with.

    Returns:
        The number of images that have been predicted, and one line for each image that could not be.

    Raises:
        OSError: no file can be written, such as on a full disk.
    """
    predicted, problems = 0, list[str]()
    for place, image in enumerate(images):
        try:
            if not outputs.are_done(image.name, image.file):
                predict_image(predictor, image, outputs, lambda part, place=place: progress(place + part))  # type: ignore[misc]
                predicted += 1
        except ValueError as error:
            problems.append(str(error))
        except OSError as error:
            if not _is_of_one_image(error, image.file):
                raise
            problems.append(_named(error, image.file))
        progress(place + 1)
    return predicted, problems


_OF_ONE_NAME = frozenset({errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EILSEQ, errno.EINVAL})
"""Errors of a file's name, or of what lies at its place: another image may be written."""


def _is_of_one_image(error: OSError, image: Path) -> bool:
    """Return whether other images may be written after this error: a full disk or a missing permission stops all."""
    return error.errno in _OF_ONE_NAME or error.filename == str(image)


def _named(error: OSError, image: Path) -> str:
    """Return in one line why the result of an image is not written."""
    if error.filename == str(image):
        return f"{image}: cannot be read again after its prediction ({error.strerror}): leave images in place until the end"
    place = error.filename if error.filename2 is None else error.filename2
    return f"{image}: its result cannot be written ({error.strerror}: {place}): rename the image, or delete what lies at this place"
