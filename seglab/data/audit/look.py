"""Look at a pair of image and mask: facts in a few hundred bytes, and a small picture to compare with neighbours."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from seglab.data.arrays import Array, as_array
from seglab.data.audit.finding import Audited, Place
from seglab.data.check import check_shapes, sample_of
from seglab.data.reading.formats import format_of
from seglab.data.reading.read import opened, read_image
from seglab.data.reading.stored import upright

SIDE = 160
"""Longest side of the small picture in which edges of the image and borders of the mask are compared."""

THUMBNAIL = 32
"""Rows and columns of a thumbnail."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luma of JPEG (ITU-R BT.601)."""

LEVELS = 32
"""Steps of a thumbnail's values in one standard deviation."""


class Small(NamedTuple):
    """Edges and borders of a pair at a small size."""

    edges: npt.NDArray[np.float32]
    """(h,w) rank of each pixel's gradient in the image, from 0 to 1."""
    borders: npt.NDArray[np.bool_]
    """(h,w) pixels whose label differs from that of the pixel on their left or above."""


@dataclass(frozen=True)
class Image:
    """Facts of an image."""

    rows: int
    columns: int
    channels: int
    dtype: str
    low: float
    """Smallest value, as stored."""
    high: float
    mean: tuple[float, ...]
    """Mean of each channel; integers are divided by their largest value."""
    std: tuple[float, ...]
    perceptual: int
    """64 bits that hardly change when the image is compressed, resized or brightened."""
    thumbnail: npt.NDArray[np.int8]
    """(32,32) grey, with mean 0 and `LEVELS` steps a standard deviation; zeros if the image has one value."""


@dataclass(frozen=True)
class Mask:
    """Facts of a mask file."""

    kind: str
    """"labels", "colours", "alpha" or "lossy"."""
    bits: int
    """Bits of a value."""
    labels: dict[int, int]
    """Number of pixels of each stored label, or of each of the `MOST_COLOURS` most frequent colours. A colour is
    0xRRGGBB, or 0xRRRRGGGGBBBB if channels have 16 bits.
    """
    distinct: int
    """Number of different labels or colours."""
    between: float
    """Share (0 to 1) of label changes from a to b along rows that pass through one pixel with a label in between."""


@dataclass(frozen=True)
class Look:
    """Facts of one sample."""

    place: Place
    name: str
    faults: tuple[str, ...] = ()
    """Messages of what cannot be read, or does not fit."""
    image: Image | None = None
    mask: Mask | None = None
    """Facts of the mask file; None if the sample is no file."""
    labels: dict[int, int] = field(default_factory=dict)
    """Number of pixels of each label that training would see; 255 is ignored."""
    image_content: bytes = b""
    """Hash of the image file, or of the pixels."""
    mask_content: bytes = b""


MOST_COLOURS = 512
"""Largest number of colours of a mask that are counted."""

KNOWN = (np.uint8, np.uint16, np.float32, np.float64)
"""Types of pixels."""


def look_at(audited: Audited, place: Place) -> tuple[Look, Small | None]:
    """Read one sample. What cannot be read is a fault, and no error."""
    dataset, image_file, mask_file = audited.splits[place.split], audited.image_file(place), audited.mask_file(place)
    faults: list[str] = []
    pixels: Array | None = None
    labels: Array | None = None
    name = f"{place.split} {place.index}" if image_file is None else str(image_file)
    try:
        sample = sample_of(dataset, place.index)
        name = sample.name
        pixels, labels = as_array(sample.image), sample.mask.numpy()
        check_shapes(sample, str(mask_file or name))
    except Exception as error:  # noqa: BLE001 - a user's own data set may raise anything
        told = f"{name}: {type(error).__name__} {error}: correct the data set, which raises it"
        faults.append(str(error) if isinstance(error, ValueError) else told)
    if pixels is None and image_file is not None:
        pixels, faults = _tried(image_file, faults)
    if pixels is not None and (pixels.dtype not in KNOWN or not pixels.size):
        faults.append(f"{name}: an image {pixels.shape} of {pixels.dtype}; expected pixels of uint8, uint16 or float32: convert it")
        pixels = None
    stored = None if mask_file is None else _stored(mask_file)
    small = None
    if pixels is not None and labels is not None and pixels.shape[:2] == labels.shape:
        small = _small(pixels, labels)
    look = Look(
        place,
        name,
        tuple(faults),
        None if pixels is None else _image(pixels),
        stored,
        {} if labels is None else _counts(labels),
        _content(image_file, pixels),
        _content(mask_file, labels),
    )
    return look, small


def _tried(file: Path, faults: list[str]) -> tuple[Array | None, list[str]]:
    """Return the image of a sample that cannot be read as a whole, and its faults."""
    try:
        return read_image(file), faults
    except ValueError as error:
        return None, [*faults, *([] if str(error) in faults else [str(error)])]


def _content(file: Path | None, pixels: Array | None) -> bytes:
    if file is not None:
        try:
            with file.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").digest()[:16]
        except OSError:
            return b""
    return b"" if pixels is None else hashlib.sha256(pixels.tobytes()).digest()[:16]


def _image(pixels: Array) -> Image:
    """Return the facts of an image (H,W,C). Mean and standard deviation are of at most 65,536 pixels, evenly spread."""
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / 2**16) ** 0.5))
    some = np.ascontiguousarray(np.moveaxis(pixels[::step, ::step], 2, 0), np.float32).reshape(pixels.shape[2], -1)
    scale = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else 1.0
    with np.errstate(invalid="ignore"):
        mean, std = some.mean(axis=1) / scale, some.std(axis=1) / scale
    rows, columns, channels = pixels.shape
    perceptual, thumbnail = _seen_from_afar(pixels)
    return Image(
        rows,
        columns,
        channels,
        str(pixels.dtype),
        float(pixels.min()),
        float(pixels.max()),
        tuple(mean.tolist()),
        tuple(std.tolist()),
        perceptual,
        thumbnail,
    )


def _seen_from_afar(pixels: Array) -> tuple[int, npt.NDArray[np.int8]]:
    """Return the perceptual hash and the thumbnail of an image (H,W,C), both of its luma, which JPEG keeps best.

    The hash tells which of the 8×8 lowest frequencies are above their median: C. Zauner, "Implementation and
    benchmarking of perceptual image hash functions" (2010), section 3.2.1.
    """
    channels = _resized(pixels, (2 * THUMBNAIL, 2 * THUMBNAIL))
    grey = np.ascontiguousarray(channels @ np.array(LUMA, np.float32) if channels.shape[2] == 3 else channels[..., 0])
    frequencies = cv2.dct(grey)[:8, :8]
    bits = np.packbits(frequencies.ravel() > np.median(frequencies))
    small = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    spread = float(small.std())
    scaled = (small - small.mean()) * (LEVELS / spread) if spread > 0 else np.zeros_like(small)
    return int.from_bytes(bits.tobytes(), "big"), np.clip(np.round(scaled), -127, 127).astype(np.int8)


def _resized(pixels: Array, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return the first three channels of an image (H,W,C), resized to (columns, rows) by the mean of areas, (h,w,c)."""
    kept = np.ascontiguousarray(pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1])
    resized = cv2.resize(kept, size, interpolation=cv2.INTER_AREA).astype(np.float32).reshape(size[1], size[0], -1)
    return np.nan_to_num(resized, copy=False)


def raw_mask(file: Path) -> tuple[Array, bool] | None:
    """Return a mask as stored, (H,W) labels or (H,W,C) colours, also if it is refused, and whether its format is lossy.

    None if it cannot be decoded.
    """
    try:
        with opened(file, "a mask", "its image") as stream:
            known = format_of(stream)
            pixels = upright((known.mask or known.image)(stream))
    except ValueError:
        return None
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels, known.mask is None


def _stored(file: Path) -> Mask | None:
    """Return the facts of a mask file, also if it is refused; None if it cannot be decoded, or holds no integers."""
    read = raw_mask(file)
    if read is None or read[0].ndim not in (2, 3) or read[0].dtype.kind not in "biu":
        return None
    pixels, lossy = read
    bits = 1 if pixels.dtype == np.bool_ else 8 * pixels.dtype.itemsize
    if pixels.ndim == 3:
        kind = "lossy" if lossy else "alpha" if pixels.shape[2] in (2, 4) and _only_alpha(pixels) else "colours"
        numbers = _as_numbers(pixels)
        values, counts = np.unique(numbers, return_counts=True)
        most = np.argsort(-counts, kind="stable")[:MOST_COLOURS]
        return Mask(kind, bits, dict(zip(values[most].tolist(), counts[most].tolist(), strict=True)), len(values), 0.0)
    labels = _counts(pixels)
    return Mask("lossy" if lossy else "labels", bits, labels, len(labels), _between(pixels))


FEW_VALUES = 64
"""Number of different values or colours up to which a file may be a mask."""


def few_values(file: Path) -> bool:
    """Return whether a file can be decoded and has few values or colours, as a mask has."""
    found = _stored(file)
    return found is not None and found.kind != "lossy" and found.distinct <= FEW_VALUES


def _only_alpha(pixels: Array) -> bool:
    """Return whether all pixels (H,W,2 or 4) have one colour, and their opacity differs."""
    colours, opacity = pixels[..., :-1], pixels[..., -1]
    return bool((colours == colours[0, 0]).all() and (opacity != opacity[0, 0]).any())


def _as_numbers(pixels: Array) -> npt.NDArray[np.int64]:
    """Return colours (H,W,C) as one number a pixel, 0xRRGGBB, from their first three channels.

    Grey and alpha give the grey three times. Channels of more than 8 bits take 16 bits each.
    """
    colours = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., [0, 0, 0]]
    shift = 8 if pixels.dtype.itemsize == 1 else 16
    channels = colours.astype(np.int64)
    return (channels[..., 0] << 2 * shift) | (channels[..., 1] << shift) | channels[..., 2]


def _counts(labels: Array) -> dict[int, int]:
    """Return the number of pixels of each label of a mask (H,W), by label."""
    if labels.dtype in (np.uint8, np.bool_):
        counts = np.bincount(labels.ravel().astype(np.uint8), minlength=256)
        return {int(label): int(counts[label]) for label in np.flatnonzero(counts)}
    values, found = np.unique(labels, return_counts=True)
    return {int(value): int(count) for value, count in zip(values[:65536], found, strict=False)}


def _between(labels: Array) -> float:
    """Return the part of the changes of label along rows that are a ramp: a, one pixel strictly between a and b, b."""
    values = labels.astype(np.int64)
    left, middle, right = values[:, :-2], values[:, 1:-1], values[:, 2:]
    ramps = ((left < middle) & (middle < right)) | ((left > middle) & (middle > right))
    changes = int((values[:, 1:] != values[:, :-1]).sum())
    return float(ramps.sum() / changes) if changes else 0.0


def _small(pixels: Array, labels: Array) -> Small:
    """Return edges and borders of an image (H,W,C) and its mask (H,W), at most `SIDE` pixels on the longer side."""
    rows, columns = labels.shape
    scale = min(1.0, SIDE / max(rows, columns))
    size = (max(4, round(columns * scale)), max(4, round(rows * scale)))
    image = _resized(pixels, size)
    mask = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    edges, borders = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, np.bool_)
    edges[:, 1:] = np.abs(np.diff(image, axis=1)).max(axis=2)
    edges[1:] = np.maximum(edges[1:], np.abs(np.diff(image, axis=0)).max(axis=2))
    borders[:, 1:] = mask[:, 1:] != mask[:, :-1]
    borders[1:] |= mask[1:] != mask[:-1]
    ranks = np.empty(edges.size, np.float32)
    ranks[edges.ravel().argsort(kind="stable")] = np.arange(edges.size, dtype=np.float32) / edges.size
    return Small(ranks.reshape(edges.shape), borders)
