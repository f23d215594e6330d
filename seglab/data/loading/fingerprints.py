"""Fingerprints of data sets: what a study records of its samples, to notice another data set of the same name."""

import hashlib
from typing import Any

from seglab.data.check import sample_of
from seglab.data.sources.dataset import SPLITS, OnDisk, SegmentationDataset, Split, check_split
from seglab.data.sources.source import SegmentationSource


def split_of(source: SegmentationSource, split: Split) -> SegmentationDataset:
    """Return one split of a source; raise a ValueError if it is no data set."""
    dataset = source.split(split)
    check_split(dataset, f"{type(source).__name__}.split({split!r})")
    return dataset


def fingerprint(dataset: SegmentationDataset) -> dict[str, Any]:
    """Return the number of samples, and a hash of the names and sizes of their files, or else of three samples."""
    if isinstance(dataset, OnDisk):
        return {"samples": len(dataset), "files": dataset.fingerprint()}
    digest = hashlib.sha256()
    for index in sorted({0, len(dataset) // 2, len(dataset) - 1} if len(dataset) else ()):
        image, mask, name = sample_of(dataset, index)
        digest.update(name.encode() + image.numpy().tobytes() + mask.numpy().tobytes())
    return {"samples": len(dataset), "three of them": digest.hexdigest()[:16]}


def distinct_fingerprints(source: SegmentationSource) -> dict[Split, dict[str, Any]]:
    """Return the fingerprint of all samples of each split of a source.

    Raises:
        ValueError: two splits hold the same samples, so that they cannot be divided anew.
    """
    found = {split: fingerprint(split_of(source, split)) for split in SPLITS}
    for place, one in enumerate(SPLITS):
        for other in SPLITS[place + 1 :]:
            if found[one] == found[other]:
                raise ValueError(
                    f"folds: {one} and {other} of {type(source).__name__} are the same samples, so that a run could be tested on its training "
                    "images; give each sample to one split, or keep the splits of the source (folds=None)"
                )
    return found
