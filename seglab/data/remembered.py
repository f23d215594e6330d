"""Remember what a check of a split found, in the user's cache folder, so that the files need not be read again.

An entry is found by a key of everything that the check depends on:

- the contents of all masks, hashed in full, and the names and sizes of all files: `PairedFiles.fingerprint`;
- inode, size, and times of change of every file, in nanoseconds. The system sets `ctime` at each write and rename, and
  no program can set it back;
- the classes and the table of labels;
- the source code of `seglab.data` and the versions of the libraries that decode files.

A changed mask therefore never has the key of the old one. An image that changes gets another `ctime`. Entries hold no
labels of single samples: training and evaluation always read the files. A missing, damaged or unwritable cache means
that the files are read.
"""

import hashlib
import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import torch

from seglab.data.caches import cache_folder, code_hash, files_of, settings_of
from seglab.data.contents import Contents, Format
from seglab.data.sources.dataset import SegmentationDataset
from seglab.data.sources.files import Pair
from seglab.files import atomic_write


def key_of(dataset: SegmentationDataset) -> str | None:
    """Return the key of a split; None if its samples may depend on more than files, as in a user's own data set.

    Raises:
        ValueError: a mask or an image cannot be read.
    """
    known = files_of(dataset)
    if known is None:
        return None
    files, pairs = known
    try:
        parts = [code_hash().encode(), settings_of(files), dataset.fingerprint().encode(), _stamps(pairs)]  # type: ignore[attr-defined]
    except (OSError, pickle.PicklingError, AttributeError, TypeError):
        return None
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def recall(key: str) -> Contents | None:
    """Return what the check of a split found; None if it is not known."""
    try:
        kept = json.loads(_file(key).read_text(encoding="utf-8"))
        images = None if kept["images"] is None else Format(int(kept["images"][0]), getattr(torch, kept["images"][1]))
        sizes = {(int(rows), int(columns)) for rows, columns in kept["sizes"]}
        pixels = {int(label): int(number) for label, number in kept["pixels"].items()}
        return Contents(int(kept["samples"]), images, str(kept["first"]), sizes, pixels, int(kept["ignored"]))
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError):
        return None


def remember(key: str, found: Contents) -> None:
    """Keep what the check of a split found, if the cache can be written."""
    images = None if found.images is None else [found.images.channels, str(found.images.dtype).removeprefix("torch.")]
    kept = {
        "samples": found.samples,
        "images": images,
        "first": found.first,
        "sizes": sorted(found.sizes),
        "pixels": found.pixels,
        "ignored": found.ignored,
    }
    try:
        file = _file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file, durable=False) as stream:
            stream.write(json.dumps(kept).encode())
    except (OSError, RuntimeError):  # read-only, full, or no home folder: the next check reads the files again
        return


def _file(key: str) -> Path:
    return cache_folder() / "checked" / f"{key}.json"


def _stamps(pairs: Sequence[Pair]) -> bytes:
    """Return what the system says about each file, and that changes when the file is written or replaced."""
    lines = []
    for file in (file for pair in pairs for file in pair):
        found = file.stat()
        lines.append(f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}")
    return "\n".join(lines).encode()
