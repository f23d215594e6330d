"""Caches of decoded and resized samples: a file for samples that are read from files, and memory for other samples.

The file of a split is mapped into memory. Workers, runs at the same time and later runs share its pages. It lies in the
folder `decoded` of the user's cache folder (see `seglab.data.caches`), in a folder whose name is a hash of the content
of all files, the size, and the code that reads them. A file that was not used for 30 days is deleted.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from seglab.data.arrays import Array, as_array, as_tensor
from seglab.data.caches import cache_folder, code_hash, files_of, settings_of
from seglab.data.loading.pipeline import Cached, Resized, Samples
from seglab.data.sources.dataset import SegmentationDataset
from seglab.data.sources.files import Pair, PairedFiles
from seglab.data.threads import in_threads
from seglab.files import atomic_write, locked
from seglab.sample import Sample

LARGEST = 0.5
"""Fraction of the free disk space that a new file may take."""

KEPT_DAYS = 30

_ALIGNED = 64
_CHUNK = 64
_NAME = "samples"


def cached(dataset: SegmentationDataset, resized: Resized) -> Samples:
    """Return the samples of a data set from a cache, which is filled if it is not there.

    The file may not be writable, for example on a full disk. Then nothing of it is left, one line says so on stderr,
    and the samples are read from their own files as without a cache.

    Args:
        dataset: the data set that `resized` reads.
        resized: the samples.
    """
    known = files_of(dataset)
    if known is None:
        return Cached(resized)
    try:
        root = cache_folder() / "decoded"
        root.mkdir(parents=True, exist_ok=True)
        _delete_unused(root)
        return _opened_or_written(root / _key(*known, resized), resized)
    except (OSError, RuntimeError) as error:
        print(f"no cache: {_reason(error)}; the images are read in every epoch", file=sys.stderr)
        return resized


def _reason(error: OSError | RuntimeError) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror or error}"
    return f"{error.strerror if isinstance(error, OSError) and error.strerror else error}"


class Mapped(Dataset[Sample]):
    """Samples in a file that is mapped into memory.

    Args:
        path: the file.

    Raises:
        OSError: there is no such file.
        ValueError: the file is incomplete or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index = _index(path)
        self.data = np.memmap(path, np.uint8, "r")
        if not all(in_threads(self._is_whole, len(self))):
            raise ValueError(f"{path}: damaged")

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> Sample:
        entry = self.index[index]
        image = self._part(entry["image_at"], entry["image"], entry["dtype"])
        return Sample(as_tensor(image), torch.from_numpy(self._part(entry["mask_at"], entry["mask"], "uint8")), entry["name"])

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "index": self.index}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path, self.index = state["path"], state["index"]
        self.data = np.memmap(self.path, np.uint8, "r")

    def _part(self, start: int, shape: list[int], dtype: str) -> Array:
        """Return a copy of an array in the file, because samples may be changed and the file may not."""
        length = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.array(self.data[start : start + length]).view(dtype).reshape(shape)

    def _is_whole(self, index: int) -> bool:
        entry = self.index[index]
        return zlib.crc32(self.data[entry["image_at"] : entry["end"]].data) == int(entry["crc"])


def _index(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a file, which ends with their JSON, the JSON's checksum and its length, 8 bytes each."""
    with path.open("rb") as file:
        try:
            file.seek(-16, os.SEEK_END)
            checksum, length = int.from_bytes(file.read(8), "little"), int.from_bytes(file.read(8), "little")
            file.seek(-16 - length, os.SEEK_END)
            content = file.read(length)
            if zlib.crc32(content) != checksum:
                raise ValueError("checksum")
            entries: list[dict[str, Any]] = json.loads(content)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: damaged") from error
    return entries


def _opened_or_written(folder: Path, samples: Samples) -> Mapped:
    """Open the file in a folder; write it first if it is missing or damaged.

    Other processes that want the same file wait for it.
    """
    folder.mkdir(exist_ok=True)
    path = folder / _NAME
    with locked(folder):
        try:
            found = Mapped(path)
        except (FileNotFoundError, ValueError):
            try:
                _write(path, samples)
            except BaseException:
                with contextlib.suppress(OSError):
                    folder.rmdir()
                raise
            found = Mapped(path)
        with contextlib.suppress(OSError):
            os.utime(path)
        return found


def _write(path: Path, samples: Samples) -> None:
    """Write samples to a file, atomically.

    Raises:
        OSError: the disk is full, or the file would take too much of it.
    """
    limit = int(LARGEST * shutil.disk_usage(path.parent).free)
    for leftover in path.parent.glob(".*.part"):  # of a process that was killed; the folder is locked
        leftover.unlink(missing_ok=True)
    entries: list[dict[str, Any]] = []
    with atomic_write(path, durable=False) as file:
        for sample in _in_chunks(samples):
            blocks = as_array(sample.image), np.ascontiguousarray(sample.mask.numpy())
            start = file.tell()
            content = b"".join(_aligned(block.tobytes()) for block in blocks)
            if max(start + len(content), len(content) * len(samples) if not entries else 0) > limit:
                size = max(start, len(content) * len(samples)) / 2**30
                raise OSError(
                    f"it would take about {size:.3g} GiB, and at most half of the free {2 * limit / 2**30:.3g} GiB is used: free space, or set SEGLAB_CACHE"
                )
            file.write(content)
            entries.append(
                {
                    "name": sample.name,
                    "dtype": blocks[0].dtype.name,
                    "image": blocks[0].shape,
                    "mask": blocks[1].shape,
                    "image_at": start,
                    "mask_at": start + len(_aligned(blocks[0].tobytes())),
                    "end": start + len(content),
                    "crc": zlib.crc32(content),
                }
            )
        index = json.dumps(entries).encode()
        file.write(index + zlib.crc32(index).to_bytes(8, "little") + len(index).to_bytes(8, "little"))


def _aligned(content: bytes) -> bytes:
    """Return bytes with zeros after them, so that the next array begins at an address that suits its dtype."""
    return content + bytes(-len(content) % _ALIGNED)


def _in_chunks(samples: Samples) -> Iterator[Sample]:
    """Yield all samples in order, read in threads, without holding more than a few in memory."""
    for start in range(0, len(samples), _CHUNK):
        yield from in_threads(lambda index, start=start: samples[start + index], min(_CHUNK, len(samples) - start))  # type: ignore[misc]


def _delete_unused(root: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 24 * 3600
    for folder in root.iterdir():
        with contextlib.suppress(OSError):
            if folder.is_dir() and max(entry.stat().st_mtime for entry in (folder, *folder.iterdir())) < oldest:
                shutil.rmtree(folder)


def _key(files: PairedFiles, pairs: Sequence[Pair], resized: Resized) -> str:
    """Return a hash of all that determines the samples: contents and names of files, settings, and the reading code."""
    digest = hashlib.sha256(settings_of(files) + f"{code_hash()} {resized.size} {resized.masks}".encode())
    for pair, content in zip(pairs, in_threads(lambda index: _content(pairs[index]), len(pairs)), strict=True):
        digest.update(f"\n{pair.image.relative_to(files.root)} {content}".encode())
    return digest.hexdigest()[:32]


def _content(pair: Pair) -> str:
    digests = []
    for path in pair:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return " ".join(digests)
