"""Shared parts of the caches of data: their folder, the files that they stand for, and the code that reads these."""

import hashlib
import importlib.metadata
import os
import pickle
import sys
from functools import cache
from pathlib import Path

import seglab
from seglab.data.loading.part import Subset
from seglab.data.sources.dataset import SegmentationDataset
from seglab.data.sources.files import Pair, PairedFiles

DECODERS = ("numpy", "pillow", "tifffile", "imagecodecs", "opencv-python-headless", "scipy")
"""Packages that decode and resize images and masks."""


def cache_folder() -> Path:
    """Return the folder of data that seglab can compute again.

    The folder is `SEGLAB_CACHE`, or `seglab` in the user's cache folder of the system.

    Raises:
        RuntimeError: the user has no home folder.
    """
    if given := os.environ.get("SEGLAB_CACHE"):
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "seglab"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "seglab" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seglab"


def files_of(dataset: SegmentationDataset) -> tuple[PairedFiles, list[Pair]] | None:
    """Return the data set of files that a split is, or is a part of, and the files of each sample of the split.

    Return None for a data set that may depend on more than these files, such as a user's own.
    """
    if isinstance(dataset, Subset):
        whole = files_of(dataset.whole)
        return None if whole is None else (whole[0], [whole[1][index] for index in dataset.indices])
    if isinstance(dataset, PairedFiles) and type(dataset).__module__.startswith("seglab."):
        return dataset, list(dataset.pairs)
    return None


def settings_of(files: PairedFiles) -> bytes:
    """Return everything beside its files that determines the samples of a data set.

    Raises:
        Exception: a setting cannot be pickled.
    """
    settings = {name: value for name, value in sorted(vars(files).items()) if name not in ("root", "pairs")}
    return pickle.dumps((type(files).__qualname__, settings), protocol=4)


@cache
def code_hash() -> str:
    """Return a hash of the code that reads, checks and resizes samples: seglab's own, and the libraries' versions."""
    digest = hashlib.sha256()
    package = Path(seglab.__file__).parent
    for file in sorted([*package.glob("data/**/*.py"), package / "resizing.py"]):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    for name in DECODERS:
        digest.update(f"{name} {_version(name)}\n".encode())
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # such as another build of OpenCV
        return ""
