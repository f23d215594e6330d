"""Shapes: a data set without files, for trials, tests, and questions that need known truth.

Such questions are on label noise, rare classes or few images.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.drawing import OUTLINES, ShapeImages, Style
from seglab.data.sources.source import SegmentationSource

COLOURS = ((33, 37, 43), (213, 94, 0), (240, 228, 66), (0, 158, 115), (86, 180, 233), (0, 114, 178), (204, 121, 167))
"""Colours of the background and the shapes, by M. Okabe and K. Ito; all eyes can tell them apart."""


@dataclass(frozen=True)
class Shapes(SegmentationSource):
    """Shapes of random place, size, turn and colour that hide each other on textured ground, in uneven light and noise.

    The outline determines the class; the hue is only typical of it. Classes become rarer in the order disc, square,
    triangle, cross, ring, star. Image i of a split is a function of (split, i) and the fields, whatever the number of
    images.

    Raises:
        ValueError: a field is out of its range.
    """

    num_train: int = 200
    """number of training images."""
    num_val: int = 50
    """number of validation images."""
    num_test: int = 100
    """number of test images."""
    image_size: int = 64
    """rows and columns of the images."""
    num_shapes: int = 5
    """number of kinds of shapes, 1 to 6; the background is one more class."""
    noise: float = 0.06
    """standard deviation of the pixels' noise, as a fraction of the range of values; it sets the difficulty."""
    label_noise: float = 0.0
    """fraction of the shapes that have a wrong label in the training masks; validation and test masks are correct."""

    worth_caching = True  # drawing an image takes longer than reading one

    def __post_init__(self) -> None:
        for name in ("num_train", "num_val", "num_test"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected at least one image")
        if self.image_size < 16:
            raise ValueError(f"image_size is {self.image_size}: expected at least 16, smaller shapes cannot be told apart")
        if not 1 <= self.num_shapes <= len(OUTLINES):
            raise ValueError(f"num_shapes is {self.num_shapes}: expected 1 to {len(OUTLINES)}")
        if not self.noise >= 0:
            raise ValueError(f"noise is {self.noise}: expected 0 or more")
        if not 0 <= self.label_noise <= 1:
            raise ValueError(f"label_noise is {self.label_noise}: expected a part of the shapes, 0 to 1")

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]  # follows from a field of a frozen dataclass
        """Names of the background and of the kinds of shapes."""
        return ("background", *list(OUTLINES)[: self.num_shapes])

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """(C,3) colours in which the classes are drawn."""
        return np.array(COLOURS[: len(self.class_names)], np.uint8)

    @property
    def train_and_val_are_alike(self) -> bool:
        """Return whether the training masks are correct, as the validation masks are."""
        return self.label_noise == 0

    def split(self, name: Split) -> SegmentationDataset:
        """Return the images of one split, which are drawn when they are read."""
        length = {"train": self.num_train, "val": self.num_val, "test": self.num_test}[name]
        style = Style(self.image_size, self.noise, self.label_noise if name == "train" else 0.0)
        return ShapeImages(name, SPLITS.index(name), length, self.class_names, style)
