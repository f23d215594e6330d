"""Look at all samples of a data set, in threads and in order, and compare each mask with its neighbours' images."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from seglab.data.audit.finding import Audited, Place
from seglab.data.audit.look import Look, Small, look_at
from seglab.data.threads import in_threads

FAR = 8
"""Distance in the order of samples at which a mask is compared with an image that it does not belong to."""

LEAST_BORDER = 12
"""Least number of border pixels, at the small size, for which a comparison counts."""


@dataclass(frozen=True)
class Fit:
    """Fit of a mask's borders to the edges of four images: 0.5 at most, about 0 if they have nothing in common."""

    place: Place
    own: float
    before: float | None
    """Fit with the image before it; None if there is none, or it has another size."""
    after: float | None
    far: float | None
    """Fit with the image that is `FAR` places before it."""


@dataclass(frozen=True)
class Survey:
    """All that was seen."""

    looks: tuple[Look, ...]
    fits: tuple[Fit, ...]


def survey(audited: Audited, progress: Callable[[int, int], None] | None = None) -> Survey:
    """Look at all samples.

    Args:
        audited: the data set.
        progress: called with (samples seen, samples in all).
    """
    places = [Place(split, index) for split, dataset in audited.splits.items() for index in range(len(dataset))]
    looks: list[Look] = []
    fits: list[Fit] = []
    last: deque[tuple[Place, Small | None]] = deque(maxlen=FAR + 1)
    for look, small in in_threads(lambda number: look_at(audited, places[number]), len(places)):
        if last and last[-1][0].split != look.place.split:
            last.clear()
        looks.append(look)
        last.append((look.place, small))
        fits += _fit_of_the_one_before(last)
        if progress is not None:
            progress(len(looks), len(places))
    return Survey(tuple(looks), tuple(fits))


def _fit_of_the_one_before(last: deque[tuple[Place, Small | None]]) -> list[Fit]:
    """Return the fit of the sample before the last, whose neighbours on both sides are known."""
    if len(last) < 3 or (here := last[-2][1]) is None or here.borders.sum() < LEAST_BORDER:
        return []
    own = _fit(here, here)
    if own is None:
        return []
    far = _fit(last[0][1], here) if len(last) == FAR + 1 else None
    return [Fit(last[-2][0], own, _fit(last[-3][1], here), _fit(last[-1][1], here), far)]


def _fit(image: Small | None, mask: Small) -> float | None:
    """Return the mean rank of an image's edges at a mask's borders, less 0.5; None if the sizes differ."""
    if image is None or image.edges.shape != mask.borders.shape:
        return None
    return float(np.mean(image.edges[mask.borders]) - 0.5)
