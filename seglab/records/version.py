"""Versions of the layout of the records, and of the numbers of a run."""

from collections.abc import Mapping
from typing import NamedTuple

SCHEMA = 2
"""Version of the layout of `study.json` and `result.json`, and of the method that describes and hashes settings.

1: settings with the paths of files inside seglab, and its version (seglab 0.1). 2: public names, the user's code by its
text, `NUMERICS`.
"""

NUMERICS = 3
"""Version of the numbers: each release of seglab that changes the numbers of a run increases it. It is part of a run's
identity; the version of seglab is not.

1: seglab 0.1 and 0.2. 2: seglab 0.3; `OHEM` takes its k from the valid pixels, which changes the numbers where masks
hold ignored pixels. 3: `CrossEntropy` with class weights and label smoothing costs 0 where all pixels of a batch have
the weight 0.
"""


class Changed(NamedTuple):
    """A class whose numbers a version of the numbers changed."""

    name: str
    """Its public name."""
    only_with: tuple[str, ...] = ()
    """Settings without which the numbers stayed: where one of them is off, None or 0."""


CHANGED_BY: Mapping[int, tuple[Changed, ...]] = {
    2: (Changed("seglab.OHEM"),),
    3: (Changed("seglab.CrossEntropy", ("weight", "label_smoothing")),),
}
"""The classes whose numbers a version changed. A version that is not a key changed the numbers of all."""


def changed_since(numerics: object) -> tuple[Changed, ...] | None:
    """Return the classes whose numbers changed after `numerics`; None if all may have changed."""
    if not isinstance(numerics, int) or numerics > NUMERICS:
        return None
    since = range(numerics + 1, NUMERICS + 1)
    if not all(version in CHANGED_BY for version in since):
        return None
    return tuple(changed for version in since for changed in CHANGED_BY[version])
