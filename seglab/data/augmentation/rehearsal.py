"""Rehearse an augmentation on real samples, step by step, to name a broken step before the training.

A broken step is one that breaks the contract.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from seglab.data.arrays import Array
from seglab.data.augmentation.augment import Albumentations
from seglab.data.augmentation.contract import fault_of
from seglab.data.augmentation.pipeline import Pipeline
from seglab.sample import IGNORE

if TYPE_CHECKING:
    import albumentations as A

_RESIZING = ("Resize", "LongestMaxSize", "SmallestMaxSize")
"""Steps of albumentations that scale whole images to a size. Other steps crop, pad, or scale at random."""

_CHANCE = (
    "gives another result for the same seed, so that no run can be repeated: draw random numbers from self.random_generator or "
    "self.py_random, as albumentations does"
)

_REPEATS = 8
"""Runs of a step of the user's under one seed: a flip at p = 0.5 that ignores the seed passes 8 runs 1 time in 128."""


class Step(NamedTuple):
    """A step of a pipeline, which is a pipeline itself. It acts on each sample."""

    name: str
    pipeline: Pipeline
    of_the_library: bool = False
    """True if the code is albumentations' own, which draws all random numbers from the seed."""


def rehearse(pipeline: Pipeline, image: Array, mask: Array, where: str) -> None:
    """Run every step of a pipeline on one sample, and check the contract.

    Each step acts, whatever its probability. Of alternatives, as in `OneOf`, each is taken once. The mask is tried as
    it is, and with labels that lie far apart: pixels that are interpolated, or filled with class 0, then have labels
    that were not there.

    Args:
        pipeline: the pipeline.
        image: (H,W,C), uint8, uint16 or float32.
        mask: (H,W) uint8.
        where: name of the sample.

    Raises:
        ValueError: a step breaks the contract, fails, or gives another result for the same random numbers. The message
            names the step.
    """
    for path in paths(pipeline):
        _rehearse_path(path, image, mask, where)


def paths(pipeline: Pipeline) -> list[list[Step]]:
    """Return the ways through a pipeline, such that each step is on one of them. Every step acts."""
    if isinstance(pipeline, Albumentations):
        return list(_paths(pipeline.compose))
    return [[Step(type(pipeline).__name__, pipeline)]]


def _paths(step: object) -> Iterator[list[Step]]:
    """Yield the ways through a step of albumentations: first the one that takes the first of all alternatives."""
    import albumentations as A

    if not isinstance(step, A.BaseCompose) or isinstance(step, A.SelectiveChannelTransform):
        library = type(step).__module__.startswith("albumentations.") and not isinstance(step, A.Lambda)
        yield [Step(type(step).__name__, Albumentations(_forced(step)), library)]
        return
    children = [list(_paths(child)) for child in step.transforms]
    if not isinstance(step, A.Compose | A.Sequential):
        yield from (path for ways in children for path in ways)
        return
    first = [ways[0] for ways in children if ways]
    yield [one for way in first for one in way]
    for place, ways in enumerate(children):
        for way in ways[1:]:
            yield [one for part in (*first[:place], way, *first[place + 1 :]) for one in part]


def _forced(step: "A.BasicTransform") -> "A.Compose":
    """Return a copy of a step that always acts, alone in a pipeline."""
    import albumentations as A

    step = copy.deepcopy(step)
    step.p = 1.0
    return A.Compose([step])


def _rehearse_path(path: Sequence[Step], image: Array, mask: Array, where: str) -> None:
    state, probe = (image, mask), _Probe(image, mask)
    broken: list[tuple[str, str]] = []  # names and faults of the steps since which the contract is broken
    resized: list[tuple[str, str]] = []
    for place, step in enumerate(path):
        seed = np.random.SeedSequence(place)
        try:
            repeats = 2 if step.of_the_library else _REPEATS
            after, *again = (step.pipeline.augment(state[0].copy(), state[1].copy(), seed) for _ in range(repeats))
        except Exception as error:
            if broken:  # the step fails because an earlier step has broken the sample
                break
            failure = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(_message(step.name, f"fails with {failure}: correct it, or leave it out", where)) from error
        fault = fault_of((image, mask), *after)
        if fault is None and not all(np.array_equal(*pair) for other in again for pair in zip(after, other, strict=True)):
            raise ValueError(_message(step.name, _CHANCE, where))
        fault = fault or probe.fault(step.pipeline, seed)
        broken = [] if fault is None else [*broken, (step.name, fault)]
        if step.name in _RESIZING and after[0].shape[:2] != state[0].shape[:2]:
            resized.append((step.name, _resized(state[0], after[0])))
        state = after
    if not broken and resized and state[0].shape[:2] != image.shape[:2]:
        broken = resized
    if broken:
        raise ValueError(_message(*broken[0], where))


class _Probe:
    """Sample with labels far apart in 1…254, so that mixed or filled pixels of the mask get labels of their own."""

    def __init__(self, image: Array, mask: Array) -> None:
        labels = [label for label in np.unique(mask).tolist() if label != IGNORE]
        table = np.full(IGNORE + 1, IGNORE, np.uint8)
        table[labels] = np.linspace(0, IGNORE - 1, len(labels) + 1)[1:]
        self.sample = image, table[mask]
        self.labels = {*np.unique(self.sample[1]).tolist(), IGNORE}

    def fault(self, step: Pipeline, seed: np.random.SeedSequence) -> str | None:
        """Run a step, and return how it invents labels; None if it does not, or fails on such labels."""
        try:
            self.sample = step.augment(self.sample[0].copy(), self.sample[1].copy(), seed)
            new = sorted(set(np.unique(self.sample[1]).tolist()) - self.labels)
        except Exception:  # noqa: BLE001 - a step of the user may know its own labels only
            return None
        if len(new) == 1:
            return f"fills new pixels of the mask with label {new[0]}: fill them with {IGNORE} (seglab.IGNORE), as no image is there"
        return "interpolates the labels of the mask: warp masks by the nearest pixel (cv2.INTER_NEAREST)" if new else None


def _resized(before: Array, after: Array) -> str:
    (rows, columns), (new_rows, new_columns) = before.shape[:2], after.shape[:2]
    return (
        f"scales images of {rows}×{columns} to {new_rows}×{new_columns} (rows × columns), and evaluation does not: leave it out, "
        f"and resize all images by --data.size {new_rows},{new_columns}"
    )


def _message(step: str, fault: str, where: str) -> str:
    return f"augmentation step {step} {fault} (seen on {where})"
