"""Resample the images of a split, or groups of images: the same draws for every run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seglab.compare.images.scores import Weights

DRAWS = 2000
"""Number of resamples. The relative standard error of a bootstrap standard error is then 1/√(2 · 2000) = 1.6 %."""

FEWEST_GROUPS = 5
"""Smallest number of groups that are resampled. Fewer groups cannot tell how much new groups would differ."""


@dataclass(frozen=True)
class Units:
    """Unit that is drawn: single images, or whole groups of images."""

    kind: str
    """`images` or `groups`."""
    of_image: tuple[int, ...]
    """Number 0…U-1 of the unit of each image."""
    groups: tuple[str, ...]
    """Names of the groups, if the source names groups; they are not drawn if they are fewer than `FEWEST_GROUPS`."""

    @property
    def number(self) -> int:
        """U, the number of units."""
        return len(set(self.of_image))


def units_of(images: int, groups: Sequence[str] | None) -> Units:
    """Return groups as the units if there are at least `FEWEST_GROUPS`, else single images."""
    names = tuple(dict.fromkeys(groups or ()))
    if len(names) < FEWEST_GROUPS:
        return Units("images", tuple(range(images)), names)
    place = {name: place for place, name in enumerate(names)}
    return Units("groups", tuple(place[name] for name in groups or ()), names)


def resampled(units: Units, draws: int = DRAWS, seed: int = 0) -> Weights:
    """Return how often each image is in each resample of the units: (draws,N).

    Resamples are drawn with replacement (Efron 1979).
    """
    generator, number = np.random.default_rng(seed), units.number
    weights = np.empty((draws, len(units.of_image)), np.uint16)
    for row in weights:
        row[:] = np.bincount(generator.integers(number, size=number), minlength=number)[list(units.of_image)]
    return weights
