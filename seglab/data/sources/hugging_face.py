"""Any table of images and masks that Hugging Face `datasets` reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from seglab.data.check import check_class_names
from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.items import Items
from seglab.data.sources.source import SegmentationSource


@dataclass(frozen=True)
class HuggingFace(SegmentationSource):
    """A table of Hugging Face `datasets` with a column of images and a column of masks, by the rules for files.

    Files in a table are read as seglab reads files: a palette mask as indices, a mask of colours or JPEG is refused.
    The identity of the data is a hash of all images and masks, so that it depends neither on the folder nor on the
    cache. The library is needed: pip install 'seglab[datasets]'.

    Raises:
        ValueError: the table cannot be loaded, has no such split or column, or does not name its classes.
    """

    path: Path
    """folder that `save_to_disk` has written, folder of Parquet files, or name on the hub, such as user/name."""
    class_names: tuple[str, ...] = ()
    """names of all C classes; needed unless the column of masks is an array of a ClassLabel."""
    splits: tuple[str, str, str] = ("train", "validation", "test")
    """names of the table's splits for training, validation and test."""
    image: str = "image"
    """column of the images."""
    mask: str = "label"
    """column of the masks."""
    void: int | None = None
    """label besides 255 that is ignored; -1 or more than 255 if the masks' integer type holds it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # a string will do
        check_class_names(self.class_names)
        object.__setattr__(self, "class_names", tuple(self.class_names) or _named(self._table("train").features[self.mask]))
        if not self.class_names:
            raise ValueError(f"{self.path}: the column {self.mask} does not name its classes: give class_names, in the order of the labels")
        for split in SPLITS:
            self.split(split)

    def split(self, name: Split) -> SegmentationDataset:
        """Return the rows of one split, in the order of the table."""
        return Items(_Rows(self._table(name), self.image, self.mask), self._name(name), self.class_names, self.void)

    def _name(self, split: Split) -> str:
        return self.splits[SPLITS.index(split)]

    def _table(self, split: Split) -> Any:
        """Return the rows of a split, whose images are not decoded.

        Raises:
            ValueError: there is no such split or column.
        """
        name = self._name(split)
        if name not in self._tables:
            known = ", ".join(self._tables)
            raise ValueError(
                f"{self.path}: has no split {name!r}; there are {known}: name three of them as splits, or save the table with three"
            )
        table = self._tables[name]
        for column in (self.image, self.mask):
            if column not in table.column_names:
                raise ValueError(
                    f"{self.path}: has no column {column!r}; there are {', '.join(table.column_names)}: name it as image or mask"
                )
        return table

    @cached_property
    def _tables(self) -> Mapping[str, Any]:
        """All splits by name; columns of images hold the bytes of their files."""
        try:
            import datasets
        except ModuleNotFoundError as error:
            raise ImportError(
                "tables of Hugging Face need the package datasets, which is not installed: pip install 'seglab[datasets]'"
            ) from error
        if not self.path.exists() and (self.path.is_absolute() or len(self.path.parts) != 2):
            raise ValueError(f"{self.path}: no such folder, and no name on the hub, which has the form user/name; correct the path")
        try:
            saved = self.path.is_dir() and (self.path / "dataset_dict.json").is_file()
            tables = datasets.load_from_disk(str(self.path)) if saved else datasets.load_dataset(self.path.as_posix())
        except Exception as error:  # whatever the library raises of files, its cache or the network
            text = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"{self.path}: cannot be loaded ({text}); expected a folder that save_to_disk has written, or of Parquet files, or a name on "
                "the hub"
            ) from error
        return {name: _undecoded(table, datasets.Image) for name, table in tables.items()}


class _Rows:
    """The pairs (image, mask) of a table."""

    def __init__(self, table: Any, image: str, mask: str) -> None:
        self.table, self.columns = table, (image, mask)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        row = self.table[index]
        return tuple(_part(row[column], self.table.features[column]) for column in self.columns)


def _undecoded(table: Any, image: Any) -> Any:
    """Return a table whose images are the bytes of their files, and whose arrays are NumPy's."""
    for column, feature in table.features.items():
        if isinstance(feature, image):
            table = table.cast_column(column, image(decode=False))
    return table.with_format("numpy")


def _part(value: Any, feature: Any) -> Any:
    """Return the bytes or the path of an image, or an array in the type of its column.

    The library gives integers of any type as int64.
    """
    if isinstance(value, dict):
        return value["path"] if value["bytes"] is None else value["bytes"]
    while hasattr(feature, "feature"):
        feature = feature.feature
    return value.astype(feature.dtype) if isinstance(value, np.ndarray) and value.dtype != np.object_ else value


def _named(feature: Any) -> tuple[str, ...]:
    """Return the names of a ClassLabel, or of an array of one; () if there are none."""
    while hasattr(feature, "feature"):
        feature = feature.feature
    return tuple(getattr(feature, "names", None) or ())
