"""Save a Hugging Face table to a folder and check it.

The flags that read it: --data.source HuggingFace --data.source.path squares_table --data.source.mask mask
--data.source.class_names background,square
"""

import numpy as np
from datasets import Dataset, DatasetDict, Features, Image

from seglab import HuggingFace, SegmentationDataModule


def rows(seeds: range) -> dict[str, list[np.ndarray]]:
    masks = [np.kron(np.random.default_rng(seed).integers(0, 2, (4, 4), dtype=np.uint8), np.ones((8, 8), np.uint8)) for seed in seeds]
    return {"image": [np.stack([100 * mask] * 3, axis=-1) for mask in masks], "mask": masks}


splits = {"train": range(16), "validation": range(16, 20), "test": range(20, 24)}
features = Features({"image": Image(), "mask": Image()})
table = DatasetDict({name: Dataset.from_dict(rows(seeds), features=features) for name, seeds in splits.items()})
table.save_to_disk("squares_table")

source = HuggingFace("squares_table", class_names=("background", "square"), mask="mask")
print(SegmentationDataModule(source).check().sizes)
