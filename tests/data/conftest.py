"""Tiny data sets on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Writer = Callable[..., Path]


def write_folder(root: Path, per_split: int = 3, size: tuple[int, int] = (8, 10), num_classes: int = 3) -> Path:
    """`{split}/images/N.png` and `{split}/masks/N.png`, all pixels drawn from one generator."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for number in range(per_split):
            image, mask = rng.integers(0, 256, (*size, 3), dtype=np.uint8), rng.integers(0, num_classes, size, dtype=np.uint8)
            Image.fromarray(image).save(root / split / "images" / f"{number}.png")
            Image.fromarray(mask).save(root / split / "masks" / f"{number}.png")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of 8×10 pixels a split, three classes."""
    return write_folder(tmp_path / "data")
