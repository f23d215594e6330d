"""Data splits of a study: the division of its data under each seed, as `study.json` records it."""

from collections.abc import Mapping
from dataclasses import dataclass

from seglab.records import StudyRecord


@dataclass(frozen=True)
class DataSplits:
    """Cross-validation over a study's seeds: each seed trains and tests on its own division of the same images."""

    folds: int
    """Number of folds of a repetition. Seed s tests on fold s mod `folds` of repetition s // `folds`."""
    train: float
    val: float
    test: float
    """Mean number of images of the split over the folds of a repetition."""

    def share(self, split: str) -> float:
        """Return the number of scored images divided by the number of training images, for a metric of `split`."""
        return (self.val if split == "val" else self.test) / self.train


def data_splits(record: StudyRecord | None) -> DataSplits | None:
    """Return the data splits that a study records; None if all its seeds share the splits of the source."""
    data = None if record is None else record.shared.get("data")
    found = data.get("folds") if isinstance(data, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    return DataSplits(int(found["folds"]), float(found["train"]), float(found["val"]), float(found["test"]))
