"""Describe the divisions of a cross-validation: sizes of the splits of each seed, and classes that a split lacks."""

from collections.abc import Sequence

import numpy as np

from seglab.data.balance import class_pixels
from seglab.data.contents import MOST_NAMES
from seglab.data.loading.datamodule import SegmentationDataModule
from seglab.data.loading.fingerprints import split_of
from seglab.data.sources.cross_validation import CrossValidation
from seglab.data.sources.dataset import SPLITS, Split


def division_lines(data: SegmentationDataModule, seeds: Sequence[int]) -> list[str]:
    """Return a line on the divisions of the data, and a line with the split sizes of each seed.

    Return nothing without `folds`.
    """
    if data.folds is None:
        return []
    of_sizes: dict[str, list[int]] = {}
    for seed in seeds:
        text = ", ".join(f"{size} {split}" for split, size in data.sizes(seed).items())
        of_sizes.setdefault(text, []).append(seed)
    division = CrossValidation(data.declared_source, data.folds)
    kept = "" if (groups := division.pool_groups) is None else f" of {len(set(groups))} groups, which are never cut"
    return [
        f"data splits: all {len(division.pool)} images{kept}, divided into {data.folds} folds; seed s tests on fold s mod {data.folds} of division "
        f"s // {data.folds}",
        *(f"  seed {', '.join(map(str, own))}: {text}" for text, own in of_sizes.items()),
    ]


def lacking_classes(data: SegmentationDataModule, seeds: Sequence[int]) -> list[str]:
    """Return a line for each class that some train or test split lacks, although the data have it.

    Reads all masks once.

    Raises:
        ValueError: all labelled pixels of the training images of a seed are of one class, although there are several
            classes.
    """
    if data.folds is None:
        return []
    has = np.concatenate([class_pixels(split_of(data.declared_source, split)) for split in SPLITS]) > 0  # (N,C) in the order of the pool
    division = CrossValidation(data.declared_source, data.folds)
    lacking: dict[tuple[Split, int], list[int]] = {}
    for seed in seeds:
        assigned = np.array(division.for_seed(seed).assigned)
        there = {split: has[assigned == split].any(axis=0) for split in SPLITS}
        if there["train"].sum() == 1 < data.num_classes:
            raise ValueError(
                f"folds {data.folds}: all labelled pixels of the training images of seed {seed} are of the class "
                f"{data.class_names[int(there['train'].argmax())]!r}: correct the masks, or ask for fewer folds"
            )
        for split in ("train", "test"):
            for label in np.flatnonzero(has.any(axis=0) & ~there[split]):
                lacking.setdefault((split, int(label)), []).append(seed)
    meaning = {"train": "these networks cannot learn it", "test": "its IoU there is not defined, or 0 if it is predicted"}
    return [
        f"no pixel of {data.class_names[label]} in {split} of seed {_few(own)}; {meaning[split]}" for (split, label), own in lacking.items()
    ]


def _few(seeds: Sequence[int]) -> str:
    more = f" and {len(seeds) - MOST_NAMES} more" if len(seeds) > MOST_NAMES else ""
    return f"{', '.join(map(str, seeds[:MOST_NAMES]))}{more}"
