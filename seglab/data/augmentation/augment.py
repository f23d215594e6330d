"""Augment samples with albumentations. It is imported inside functions only, because `--help` must not wait for it."""

import os
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from seglab.data.arrays import Array
from seglab.sample import IGNORE

if TYPE_CHECKING:
    import albumentations as A

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # otherwise the import asks PyPI for updates, with a time-out of two seconds


def default_augmentation() -> "A.Compose":
    """Make the default pipeline: horizontal flip, random scale and shift, mild brightness and contrast.

    The scale is 0.75 to 1.5, and the shift is at most an eighth of the size.

    It works for any size, number of channels and dtype. The size stays the same, and pixels from outside the image
    become `IGNORE`.
    """
    import albumentations as A

    from seglab.data.augmentation.brightness import BrightnessContrast

    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Affine(scale=(0.75, 1.5), translate_percent=(-0.125, 0.125), keep_ratio=True, fill=0, fill_mask=IGNORE, p=0.8),
            BrightnessContrast(brightness_limit=0.15, contrast_limit=0.15, p=0.5),
        ]
    )


class Albumentations:
    """A pipeline of albumentations.

    Pixels of masks from outside the image become `IGNORE`; the default of albumentations is class 0.

    Args:
        compose: the pipeline; its fill values of masks are set in place.

    Raises:
        ValueError: the pipeline has a seed, boxes or keypoints, or is another composition than `Compose`.
    """

    def __init__(self, compose: "A.Compose") -> None:
        _check_compose(compose)
        self.compose = ignore_outside(compose)

    def augment(self, image: Array, mask: Array, seed: np.random.SeedSequence) -> tuple[Array, Array]:
        """Augment one sample; see `transform`."""
        return transform(image, mask, self.compose, seed)


def _check_compose(compose: object) -> None:
    """Raise a ValueError if a pipeline would not work as it seems to."""
    import albumentations as A

    kind = type(compose).__name__
    if isinstance(compose, A.ReplayCompose):
        raise ValueError("augmentation makes a ReplayCompose, which records each call, and nothing reads the record: make a Compose")
    if not isinstance(compose, A.Compose):
        raise ValueError(f"augmentation makes a {kind}; expected an albumentations.Compose: put it into one, as in A.Compose([{kind}(…)])")
    if compose.seed is not None:
        raise ValueError(
            f"augmentation makes Compose(seed={compose.seed}), but the seed of the run determines its random numbers: leave out seed"
        )
    if compose.processors:
        names = " and ".join(f"{name.removesuffix('es') if name == 'bboxes' else 'keypoint'}_params" for name in compose.processors)
        raise ValueError(f"augmentation makes a Compose with {names}, but samples have an image and a mask only: leave out {names}")


def ignore_outside(compose: "A.Compose") -> "A.Compose":
    """Set the fill value of masks to `IGNORE` in each step, in place, and return the pipeline.

    The default of albumentations is class 0.
    """
    for step in _steps(compose):
        if getattr(step, "fill_mask", None) is not None:  # None leaves the mask unchanged, as in CoarseDropout
            step.fill_mask = IGNORE  # type: ignore[attr-defined]
    return compose


def _steps(compose: "A.BaseCompose") -> Iterator[object]:
    import albumentations as A

    for step in compose.transforms:
        yield from _steps(step) if isinstance(step, A.BaseCompose) else (step,)


def transform(image: Array, mask: Array, compose: "A.Compose", seed: np.random.SeedSequence) -> tuple[Array, Array]:
    """Augment one sample. The result is a function of the arguments alone.

    Each step gets its own generator. `Compose(seed=…)` would give every step the same random numbers, so that flips
    happen together.

    Args:
        image: (H,W,C), uint8, uint16 or float32.
        mask: (H,W) uint8.
        compose: pipeline of albumentations.
        seed: seed of this sample in this epoch.

    Returns:
        The new image (H',W',C) and mask (H',W').
    """
    compose.set_random_state(np.random.default_rng(seed), random.Random(int(seed.generate_state(1)[0])))
    result = compose(image=image, mask=mask)
    new = result["image"]
    return new[..., None] if isinstance(new, np.ndarray) and new.ndim == 2 else new, result["mask"]
