"""Any map-style data set of PyTorch, such as those of torchvision."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from seglab.data.check import check_class_names
from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.items import Items
from seglab.data.sources.source import SegmentationSource


@dataclass(frozen=True)
class TorchDataset(SegmentationSource):
    """The items (image, mask) of a map-style data set of PyTorch, by the rules that hold for files.

    An image or a mask is a PIL image, an array (H,W,C) or (H,W), a tensor (C,H,W) or (H,W), or a path. A palette mask
    is read as indices; a mask of colours is refused. Make the data set without transforms: `SegmentationDataModule`
    resizes and augments, and the module normalises. The identity of the data is a hash of all images and masks.

    Raises:
        ValueError: no class names are given, or `make` returns no map-style data set.
    """

    make: Callable[[Split], Any]
    """function that makes the data set of a split, "train", "val" or "test"; an import path such as my_file.pets."""
    class_names: tuple[str, ...]
    """names of all C classes, in the order of the labels."""
    void: int | None = None
    """label besides 255 that is ignored; -1 or more than 255 if the masks' integer type holds it."""

    def __post_init__(self) -> None:
        check_class_names(self.class_names)
        object.__setattr__(self, "class_names", tuple(self.class_names))
        if not callable(self.make):
            raise ValueError(f"make is {self.make!r}: expected a function that makes the data set of a split")
        if not self.class_names:
            raise ValueError("class_names are empty: name every class, in the order of the labels")
        for split in SPLITS:
            self.split(split)

    def split(self, name: Split) -> SegmentationDataset:
        """Return the items of one split, in the order of the data set."""
        made = self.make(name)
        if not hasattr(made, "__len__") or not hasattr(made, "__getitem__"):
            raise ValueError(
                f"{getattr(self.make, '__name__', 'make')}({name!r}) returned a {type(made).__name__}; expected a map-style data set, with "
                "__len__ and __getitem__"
            )
        return Items(made, name, self.class_names, self.void)
