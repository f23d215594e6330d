"""Pipelines: what augments samples, and how it is made of what the user gives."""

import inspect
import sys
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from seglab.data.arrays import Array
from seglab.data.augmentation.augment import Albumentations

Augmentation = Callable[[], Any]
"""Makes a pipeline: an `albumentations.Compose`, or a `Pipeline`."""


@runtime_checkable
class Pipeline(Protocol):
    """Augments samples, such as a preset."""

    def augment(self, image: Array, mask: Array, seed: np.random.SeedSequence) -> tuple[Array, Array]:
        """Return a new image (H',W',C) and mask (H',W') of the same kinds.

        The result is a function of the arguments alone.

        Args:
            image: (H,W,C), uint8, uint16 or float32.
            mask: (H,W) uint8.
            seed: seed of this sample in this epoch.
        """


def check_augmentation(augmentation: object) -> None:
    """Check that an augmentation is a function that makes a pipeline, or None.

    A pipeline itself is refused, because the code of its steps could not be recorded.

    Raises:
        ValueError: the augmentation is something else.
    """
    if augmentation is None:
        return
    if callable(augmentation) and not _is_of_albumentations(augmentation):
        if needed := _required(augmentation):
            name = getattr(augmentation, "__name__", type(augmentation).__name__)
            raise ValueError(f"augmentation {name} needs {', '.join(needed)}: expected a function without arguments; give it defaults")
        return
    if callable(augmentation):
        kind = type(augmentation).__name__
        raise ValueError(
            f"augmentation is a {kind} itself; expected a function that makes the pipeline, such as my_file.pipeline with "
            f"def pipeline(): return A.Compose([A.{'HorizontalFlip' if kind == 'Compose' else kind}(…)]), or a YAML file of A.save"
        )
    raise ValueError(f"augmentation is {augmentation!r}: expected a function that makes the pipeline, or None for no augmentation")


def pipeline_of(augmentation: Augmentation) -> Pipeline:
    """Make the pipeline.

    Raises:
        ValueError: the function makes something else, or a pipeline that would not work as it seems to.
    """
    made = augmentation()
    if isinstance(made, Pipeline):
        return made
    if not _is_of_albumentations(made):
        name = getattr(augmentation, "__name__", type(augmentation).__name__)
        found = "None" if made is None else f"a {type(made).__name__}"
        lacks = "; does the function lack a return?" if made is None else ""
        raise ValueError(f"augmentation {name} returned {found}; expected an albumentations.Compose{lacks}")
    return Albumentations(made)


def _is_of_albumentations(thing: object) -> bool:
    """Return whether `thing` is a transform of albumentations.

    An object of it exists only if the library is imported.
    """
    library = sys.modules.get("albumentations")
    return library is not None and isinstance(thing, library.BaseCompose | library.BasicTransform)


def _required(function: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments that a function cannot be called without."""
    try:
        arguments = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # such as a function in C
        return []
    return [one.name for one in arguments if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
