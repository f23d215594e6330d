"""The one place that knows albumentations. It is imported where it is used: `--help` must not wait for it."""

import os
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from seglab.data.arrays import Array
from seglab.sample import IGNORE

if TYPE_CHECKING:
    import albumentations as A

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # its import asks PyPI for news, with a time-out of two seconds


def default_augmentation() -> "A.Compose":
    """Horizontal flip, a random scale and crop (0.75 to 1.5 times, moved by up to an eighth), mild brightness and contrast.

    Works for any size, number of channels and dtype; the size stays the same, and what comes from outside of the image is `IGNORE`.
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


def ignore_outside(compose: "A.Compose") -> "A.Compose":
    """The same pipeline with every padding of a mask set to `IGNORE`: albumentations' own default is class 0."""
    for step in _steps(compose):
        if getattr(step, "fill_mask", None) is not None:  # None leaves the mask alone, as CoarseDropout does
            step.fill_mask = IGNORE  # type: ignore[attr-defined]
    return compose


def _steps(compose: "A.BaseCompose") -> Iterator[object]:
    import albumentations as A

    for step in compose.transforms:
        yield from _steps(step) if isinstance(step, A.BaseCompose) else (step,)


def transform(image: Array, mask: Array, compose: "A.Compose", seed: np.random.SeedSequence) -> tuple[Array, Array]:
    """Augments one sample; the result is a function of the arguments alone.

    `Compose(seed=…)` would give every step the same stream (flips then fire together), hence the generators by hand.

    Args:
        image: (H,W,C), uint8, uint16 or float32.
        mask: (H,W) uint8.
        compose: the pipeline.
        seed: of this sample in this epoch.

    Returns:
        The new image (H',W',C) and mask (H',W').
    """
    compose.set_random_state(np.random.default_rng(seed), random.Random(int(seed.generate_state(1)[0])))
    result = compose(image=image, mask=mask)
    return result["image"].reshape(*result["image"].shape[:2], -1), result["mask"]
