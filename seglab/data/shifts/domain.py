"""Another data set as a shifted test set."""

from dataclasses import dataclass
from typing import final

import numpy as np

from seglab.data.arrays import Array
from seglab.data.shifts.shift import Shift
from seglab.data.sources.source import SegmentationSource


@final
@dataclass(frozen=True)
class OtherDomain(Shift):
    """The test split of another data set, whose classes have the same names in the same order."""

    source: SegmentationSource
    """The other data set."""

    def domain(self) -> SegmentationSource:
        """Return the other data set."""
        return self.source

    def apply(self, image: Array, rng: np.random.Generator) -> Array:
        """Return the image unchanged."""
        return image
