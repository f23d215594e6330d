"""Shapes: a data set without files, to try seglab, test it, and study what needs known truth (label noise, rare classes, few images)."""

import numpy as np
import numpy.typing as npt

from seglab.data.loading.datamodule import SegmentationDataModule
from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.drawing import OUTLINES, ShapeImages, Style

COLOURS = ((33, 37, 43), (213, 94, 0), (240, 228, 66), (0, 158, 115), (86, 180, 233), (0, 114, 178), (204, 121, 167))
"""Background and shapes, in the colours of M. Okabe and K. Ito that all eyes can tell apart."""


class Shapes(SegmentationDataModule):
    """Shapes of random place, size, turn and colour that hide each other on textured ground, in uneven light and noise.

    A hue is typical of a class, but no proof; the outline decides. Classes become rarer in the order disc, square, triangle, cross,
    ring, star. Image i of a split is a function of (split, i) and the arguments, whatever the number of images.

    Args:
        num_train: number of training images.
        num_val: number of validation images.
        num_test: number of test images.
        image_size: rows and columns of the images.
        num_shapes: how many kinds of shapes, 1 to 6; with the background the data have one class more.
        noise: standard deviation of the pixels' noise, in parts of the range of values; the data's difficulty.
        label_noise: the part of the shapes that carries a wrong label in the training masks (validation and test stay clean).
        batch_size: of all ranks together.
        size: rows and columns to which images are resized; None to keep theirs.
        augment: whether training samples are augmented.
        num_workers: processes that prepare batches; None for what suits this machine.
        cache: keep the images in memory.
        train_fraction: the part of the training images that is used, evenly spread over their order, the same for every seed.
        balanced_images: how much of the order of training is drawn, with replacement, to favour images of rare classes: 0 shows every
            image once an epoch, 1 draws a class, a pixel of it, and the image that has it, in between is a mixture.
        crop: rows and columns of the crops to train on, cut after resizing and augmenting; None for whole images.
        balanced_crops: the part of the crops that is placed around a pixel of a class drawn from those of the image; the others lie
            anywhere.

    Raises:
        ValueError: an argument out of its range.
    """

    def __init__(
        self,
        num_train: int = 200,
        num_val: int = 50,
        num_test: int = 100,
        image_size: int = 64,
        num_shapes: int = 5,
        noise: float = 0.06,
        label_noise: float = 0.0,
        batch_size: int = 8,
        size: tuple[int, int] | None = None,
        augment: bool = True,
        num_workers: int | None = None,
        cache: bool = True,
        train_fraction: float = 1.0,
        balanced_images: float = 0.0,
        crop: tuple[int, int] | None = None,
        balanced_crops: float = 0.0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            size=size,
            augment=augment,
            num_workers=num_workers,
            cache=cache,
            train_fraction=train_fraction,
            balanced_images=balanced_images,
            crop=crop,
            balanced_crops=balanced_crops,
        )
        for name, number in (("num_train", num_train), ("num_val", num_val), ("num_test", num_test)):
            if number < 1:
                raise ValueError(f"{name} is {number}: expected at least one image")
        if image_size < 16:
            raise ValueError(f"image_size is {image_size}: expected at least 16, smaller shapes cannot be told apart")
        if not 1 <= num_shapes <= len(OUTLINES):
            raise ValueError(f"num_shapes is {num_shapes}: expected 1 to {len(OUTLINES)}")
        if noise < 0:
            raise ValueError(f"noise is {noise}: expected 0 or more")
        if not 0 <= label_noise <= 1:
            raise ValueError(f"label_noise is {label_noise}: expected a part of the shapes, 0 to 1")
        self.num_train, self.num_val, self.num_test = num_train, num_val, num_test
        self.image_size, self.num_shapes, self.noise, self.label_noise = image_size, num_shapes, noise, label_noise
        self.class_names = ("background", *list(OUTLINES)[:num_shapes])

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """(C,3) colours to draw the classes in."""
        return np.array(COLOURS[: self.num_classes], np.uint8)

    def dataset(self, split: Split) -> SegmentationDataset:
        """The images of one split, drawn when they are asked for."""
        length = {"train": self.num_train, "val": self.num_val, "test": self.num_test}[split]
        style = Style(self.image_size, self.noise, self.label_noise if split == "train" else 0.0)
        return ShapeImages(split, SPLITS.index(split), length, self.class_names, style)
