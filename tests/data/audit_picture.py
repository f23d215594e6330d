"""Write a data set with two faults, whose audit docs/howto/audit.md shows.

Run it by `python -m tests.data.audit_picture shapes`, then `seglab audit shapes`, and take a picture of `audit.html` in
a window of 800 × 1150 pixels.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from seglab import Shapes
from seglab.data import SPLITS


def main(root: Path) -> None:
    """Write the data set: a mask is half as large as its image, and a training sample is in the test split too."""
    source = Shapes(num_train=30, num_val=10, num_test=10, image_size=128)
    for split in SPLITS:
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        samples = source.split(split)
        for number in range(len(samples)):
            name = f"{split}_{number:03d}.png"
            Image.fromarray(np.asarray(samples[number].image.permute(1, 2, 0))).save(root / split / "images" / name)
            Image.fromarray(np.asarray(samples[number].mask)).save(root / split / "masks" / name)
    half = root / "train" / "masks" / "train_005.png"
    Image.fromarray(np.asarray(Image.open(half))[::2, ::2]).save(half)
    for kind in ("images", "masks"):
        shutil.copy(root / "train" / kind / "train_003.png", root / "test" / kind / "test_020.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
