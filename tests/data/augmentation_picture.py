"""Draw each augmentation preset on one image, for docs/howto/augmentation.md.

Run it by `python -m tests.data.augmentation_picture`.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from seglab import IGNORE, LightAugmentation, Shapes, StrongAugmentation, default_augmentation
from seglab.data.arrays import as_array
from seglab.data.augmentation.pipeline import pipeline_of

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "augmentation.png"
COLUMNS = 5
"""Augmented samples of each preset, right of the image itself."""


def main() -> None:
    sample = Shapes(image_size=96, noise=0.0).split("train")[0]
    image, mask = as_array(sample.image), sample.mask.numpy()
    rows = []
    for augmentation in (default_augmentation, LightAugmentation(), StrongAugmentation()):
        pipeline = pipeline_of(augmentation)
        samples = [pipeline.augment(image.copy(), mask.copy(), np.random.SeedSequence(seed)) for seed in range(COLUMNS)]
        ignored = [np.where((labels == IGNORE)[..., None], np.uint8(255), pixels) for pixels, labels in samples]
        rows.append(np.hstack([np.pad(each, ((2, 2), (2, 2), (0, 0)), constant_values=255) for each in (image, *ignored)]))
    Image.fromarray(np.vstack(rows)).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
