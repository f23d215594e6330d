"""`SegmentationSource`: the description of a data set. It does not cover loading."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from seglab.data.sources.dataset import SegmentationDataset, Split, default_palette
from seglab.data.sources.spread import spread


class SegmentationSource(ABC):
    """A data set: its classes, and the samples of each split.

    A subclass is a frozen dataclass. Its fields are the settings of the data set: they become flags such as
    `--data.source.root`, and they are recorded with a study. A field of type `Path` says where the data lie, and is not
    recorded.

        @dataclass(frozen=True)
        class Cells(SegmentationSource):
            root: Path
            class_names = ("background", "cell")

            def split(self, name: Split) -> SegmentationDataset:
                return CellImages(self.root / name)

    `SegmentationDataModule(Cells(root))` makes batches of it. The command line names it by its import path, as in
    `--data.source my_file.Cells --data.source.root D`; every flag of loading, such as `--data.batch_size`, works with
    it.
    """

    class_names: tuple[str, ...]
    """Names of the C classes, in the order of the labels."""

    suggested_size: ClassVar[tuple[int, int] | None] = None
    """Rows and columns for `SegmentationDataModule(size=None)`; None keeps the images' own size."""

    worth_caching: ClassVar[bool] = False
    """Value of `SegmentationDataModule(cache=None)`: whether the images are kept in memory."""

    @property
    def train_and_val_are_alike(self) -> bool:
        """Return whether training and validation samples may be exchanged, as for the folds of a tuning.

        False refuses such folds.
        """
        return True

    @abstractmethod
    def split(self, name: Split) -> SegmentationDataset:
        """Return all samples of one split, at their original size."""

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """(C,3) colours in which the classes are drawn."""
        return default_palette(len(self.class_names))

    def groups(self, name: Split) -> Sequence[str] | None:
        """Return the group of each sample of a split, such as its patient, scene or drive.

        Return None if samples are independent of each other.

        Samples of one group are alike, so that statistics over images draw whole groups.
        """
        return None

    def chosen(self, dataset: SegmentationDataset, fraction: float) -> Sequence[int]:
        """Return the indices of the training samples that `train_fraction` keeps, the same for every seed.

        The default spreads them evenly over the data set's order, see `spread`. Override it for a data set whose order
        has a meaning, such as frames of several videos.

        Args:
            dataset: the training split.
            fraction: more than 0 and less than 1.
        """
        return spread(len(dataset), fraction)

    def for_seed(self, seed: int) -> "SegmentationSource":
        """Return the data set of a run under a seed: this one, unless the division into splits depends on the seed."""
        return self
