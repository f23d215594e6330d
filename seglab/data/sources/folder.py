"""Any data set of images and masks in files."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seglab.data.check import check_class_names, count_labels
from seglab.data.reading.formats import ENDINGS, OTHER_ENDINGS
from seglab.data.sources.classes import ClassTable, class_table
from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split, default_palette
from seglab.data.sources.files import Pair, PairedFiles, composed, utf8
from seglab.data.sources.pairing import Layout
from seglab.data.sources.patterns import Pattern
from seglab.data.sources.samples import Named, check_groups, divided, group_of
from seglab.data.sources.source import SegmentationSource
from seglab.data.sources.split_rules import SplitRule
from seglab.data.sources.splits import Counts, hash_order
from seglab.data.threads import in_threads
from seglab.sample import IGNORE, Sample

_ARGUMENTS: Sequence[tuple[str, tuple[type, ...], str]] = (
    ("num_classes", (int,), "a whole number"),
    ("void", (int, str), "a label, which is a whole number, or the name of a class"),
    ("images", (str,), "a pattern, which is text"),
    ("masks", (str,), "a pattern, which is text"),
    ("group", (str,), "a regular expression, which is text"),
)
"""Arguments of `ImageMaskFolder`, the types that they accept beside None, and what they are in words."""

LAYOUT = "{train,val,test}/images/NAME.jpg and {train,val,test}/masks/NAME.png"


@dataclass(frozen=True)
class ImageMaskFolder(SegmentationSource):
    """Images and masks in `{root}/{train,val,test}/images` and `{root}/{train,val,test}/masks`, or where patterns say.

    An image and its mask share a part of their names, which is their name without its ending if no pattern is given. A
    mask holds class indices, or what `labels` or `classes` say; 255 is ignored. `docs/howto/data.md` lists the formats
    and shows the layouts that are read.

    Raises:
        ValueError: a folder is missing or empty, a pattern matches nothing, a file has no partner or is in two splits,
            or arguments do not fit together.
    """

    root: Path
    """folder of the data."""
    num_classes: int | None = None
    """C, the number of classes; it may be left out if class_names, classes or labels tell it."""
    class_names: tuple[str, ...] = ()
    """names of all C classes; without them those in classes, or "class 0", "class 1", …."""
    void: int | str | None = None
    """ignored label besides 255, also -1 or above 255 if the masks' type holds it; or name of a class in classes."""
    images: str | None = None
    """pattern of the images below root, such as '{split}/*.jpg'; * is the part of the name shared with the mask."""
    masks: str | None = None
    """pattern of the masks below root, such as 'labels/{split}/*_mask.png'."""
    lists: Path | None = None
    """text files that name the samples of each split, one a line, such as 'splits/{split}.txt'; below root."""
    splits: SplitRule | None = None
    """rule that divides the samples where no folder or list does: RandomSplit, KFold or a rule of your own."""
    group: str | None = None
    """regular expression for a sample's group, such as its patient, in the shared name; no split cuts a group."""
    labels: Mapping[int, int] | None = None
    """class of each label in the masks, 255 for none, such as {0: 0, 255: 1}; any other label is refused."""
    classes: Path | None = None
    """table of the classes below root: a CSV with columns class, r, g, b for colour masks, or a text file of names."""

    def __post_init__(self) -> None:
        if not isinstance(self.root, str | os.PathLike):
            raise ValueError(f"root is {self.root!r}: expected the folder of the data")
        object.__setattr__(self, "root", Path(self.root))  # a string will do
        for name in ("lists", "classes"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(value))
        self._check_types()
        self._settle_classes()
        for split in SPLITS:
            self.split(split)
        if self.group is not None:
            check_groups({split: self._samples(split) for split in SPLITS}, self.group)

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """(C,3) colours in which the classes are drawn."""
        if self._table is None or self._table.palette is None:
            return default_palette(len(self.class_names))
        return np.array(self._table.palette, np.uint8)

    def split(self, name: Split) -> SegmentationDataset:
        """Return the pairs of one split, sorted by name."""
        return self._dataset(self._samples(name))

    def groups(self, name: Split) -> Sequence[str] | None:
        """Return the group of each sample of a split; None if no pattern names the groups."""
        return None if self.group is None else [group_of(sample, self.group) for sample in self._samples(name)]

    def chosen(self, dataset: SegmentationDataset, fraction: float) -> Sequence[int]:
        """Return the indices of the training samples that `train_fraction` keeps.

        With a rule of `splits`, they are drawn at random by the seed of the rule, and a smaller fraction's are among
        those of a larger one. Otherwise they are spread evenly over the order of names.
        """
        if self.splits is None:
            return super().chosen(dataset, fraction)
        order = hash_order([sample.name for sample in self._samples("train")], self.splits.seed)
        return sorted(order[-max(1, round(fraction * len(order))) :])

    def _dataset(self, samples: Sequence[Named]) -> PairedFiles:
        void = self.void if isinstance(self.void, int) else None
        table = self.labels if self.labels is not None or self._table is None else self._table.labels
        colours = None if self._table is None else self._table.colours
        return PairedFiles(self.root, [sample.pair for sample in samples], self.class_names, void, table, colours)

    def _samples(self, split: Split) -> Sequence[Named]:
        """Return the samples of one split, sorted by name."""
        if self.images is not None or self.masks is not None or self.lists is not None or self.splits is not None:
            return self._divided[split]
        return self._in_folders[split]

    @cached_property
    def _in_folders(self) -> dict[Split, list[Named]]:
        """The samples of each split, where nothing but the folders says them."""
        found = {split: pair_by_stem(self.root / split / "images", self.root / split / "masks", LAYOUT) for split in SPLITS}
        stems = {split: [composed(pair.image.stem) for pair in pairs] for split, pairs in found.items()}
        return {split: [Named(stem, stem, pair) for stem, pair in zip(stems[split], pairs, strict=True)] for split, pairs in found.items()}

    @cached_property
    def _divided(self) -> dict[Split, list[Named]]:
        """The samples of each split, where patterns, lists or a rule say them."""
        if (self.images is None) != (self.masks is None):
            raise ValueError("images and masks are patterns that belong together: give both, or neither")
        images = Pattern("images/*" if self.images is None else self.images, "images")
        masks = Pattern("masks/*" if self.masks is None else self.masks, "masks")
        layout = Layout(self.root, images, masks, self.lists)
        return divided(layout, self.splits, self.group, lambda samples: _class_pixels(self._dataset(samples)))

    @cached_property
    def _table(self) -> ClassTable | None:
        """The content of the file `classes`."""
        if self.classes is None:
            return None
        file = self.root / self.classes  # an absolute path stays
        if not file.is_file():
            there = f", and {self.classes.absolute()} exists" if self.classes.is_file() else ""
            raise ValueError(f"{file}: no such file; classes is a path below root, or an absolute one{there}: correct classes")
        return class_table(file, self.void if isinstance(self.void, str) else None)

    def _check_types(self) -> None:
        """Refuse values that would have no effect, such as a label that is no integer."""
        for name, kinds, expected in _ARGUMENTS:
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
                raise ValueError(f"{name} is {value!r}: expected {expected}")

    def _settle_classes(self) -> None:
        """Set number and names of the classes by the arguments that tell them, and refuse contradictory arguments."""
        if self._table is None and isinstance(self.void, str):
            raise ValueError(f"void is {self.void!r}: expected a label; a class can be named where classes is given")
        if self._table is not None and self._table.labels is None and self.labels is None and isinstance(self.void, int):
            raise ValueError(f"void is {self.void}, and the masks are in colours by {self.classes}: name the class that is ignored")
        check_class_names(self.class_names)
        _check_labels(self.labels, self.void)
        if self._table is not None and self._table.has_labels and self.labels is not None and self.labels != self._table.labels:
            raise ValueError(f"labels are given, and {self.classes} has other ones in its column id: give one of them")
        names = tuple(self.class_names) if self._table is None else self._table.names
        if self.class_names and tuple(self.class_names) != names:
            raise ValueError(f"class_names {list(self.class_names)} are not those of {self.classes}, {list(names)}: give one of them")
        count = self.num_classes if self.num_classes is not None else len(names) or _number_of_classes(self.labels)
        if not 1 <= count <= IGNORE:
            raise ValueError(f"num_classes is {count}: expected 1 to {IGNORE}, as masks have 8 bits and {IGNORE} is ignored")
        if names and len(names) != count:
            raise ValueError(f"{len(names)} class_names for num_classes={count}: name every class, or none")
        if wrong := [label for label, index in (self.labels or {}).items() if not (0 <= index < count or index == IGNORE)]:
            raise ValueError(
                f"labels gives {wrong[0]} the class {(self.labels or {})[wrong[0]]}: expected 0…{count - 1}, or {IGNORE} for a label that is ignored"
            )
        object.__setattr__(self, "num_classes", count)
        object.__setattr__(self, "class_names", names or tuple(f"class {label}" for label in range(count)))


def _class_pixels(dataset: PairedFiles) -> Counts:
    """Count the pixels (N,C) of each class in each mask. No image is read."""

    def counted(index: int) -> Tensor:
        sample = Sample(torch.empty(0), torch.from_numpy(dataset.mask(index)), "")
        return count_labels(sample, dataset.num_classes, str(dataset.mask_file(index)))

    return np.array([counts.numpy() for counts in in_threads(counted, len(dataset))])


def _check_labels(labels: Mapping[int, int] | None, void: int | str | None) -> None:
    """Raise a ValueError if `labels` is no mapping of whole numbers, or gives a class to the label that is ignored."""
    if labels is None:
        return
    if not isinstance(labels, Mapping) or any(type(number) is not int for item in labels.items() for number in item):
        raise ValueError(f"labels is {labels!r}: expected the class of each label, both whole numbers, such as {{0: 0, 255: 1}}")
    if isinstance(void, int) and labels.get(void, IGNORE) != IGNORE:
        raise ValueError(
            f"labels gives the label {void} the class {labels[void]}, and void is {void}, which is ignored: correct one of them"
        )


def _number_of_classes(labels: Mapping[int, int] | None) -> int:
    """Return the number of classes that labels are mapped to."""
    known = [index for index in (labels or {}).values() if index != IGNORE]
    if not known:
        raise ValueError(
            "num_classes is missing: give it, or class_names, labels or classes, which tell it; its flag is --data.source.num_classes INT"
        )
    return max(known) + 1


def pair_by_stem(images: Path, masks: Path, layout: str) -> list[Pair]:
    """Return each image of a folder with the mask of the same stem, sorted.

    Composed and decomposed Unicode (NFC, NFD) are one stem.

    Raises:
        ValueError: a folder is missing or empty, two files share a stem, or a file has no partner.
    """
    image_of, mask_of = _by_stem(images, layout), _by_stem(masks, layout)
    _require_readable(image_of, images)
    if not image_of:
        raise ValueError(f"{images}: no images in it (endings {', '.join(sorted(ENDINGS))}); expected {layout}")
    _require_partners(image_of, mask_of, "mask", masks)
    _require_partners(mask_of, image_of, "image", images)
    return [Pair(image_of[stem], mask_of[stem]) for stem in sorted(image_of)]


def require_folder(folder: Path, layout: str) -> None:
    """Raise a ValueError that tells the expected layout if the folder does not exist."""
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: no such folder; below the root are expected {layout}: correct the root, or give the "
            "patterns images and masks for files that lie elsewhere"
        )


def _by_stem(folder: Path, layout: str) -> dict[str, Path]:
    """Return the files of a folder that are read, by their stem in composed Unicode. Hidden files are left out."""
    require_folder(folder, layout)
    files: dict[str, Path] = {}
    for name in _visible(folder):
        stem, ending = _parts(name)
        if ending not in ENDINGS:
            continue
        if stem in files:
            raise ValueError(
                f"{folder / name}: has the same name as {files[stem].name}, and files are paired by name: rename or remove one"
            )
        files[stem] = folder / name
    return files


def _require_partners(files: dict[str, Path], others: dict[str, Path], other_kind: str, folder: Path) -> None:
    """Raise a ValueError if a file has no partner in `folder`.

    The message names a file of the same stem whose ending is not read.
    """
    alone = [files[stem] for stem in sorted(files.keys() - others.keys())]
    if not alone:
        return
    kind = {"mask": "image", "image": "mask"}[other_kind]
    more = f" ({len(alone) - 1} more like it)" if len(alone) > 1 else ""
    unread = [folder / name for name in _visible(folder) if composed(name).startswith(f"{composed(alone[0].stem)}.")]
    if unread:
        raise ValueError(f"{alone[0]}: the {other_kind} of this {kind} is {unread[0]}, which {_WHY_UNREAD}{more}: convert the {other_kind}")
    raise ValueError(
        f"{alone[0]}: this {kind} has no {other_kind} {alone[0].stem}.* in {folder}{more}: add the {other_kind}, or remove the {kind}"
    )


def _require_readable(read: dict[str, Path], folder: Path) -> None:
    """Raise a ValueError if an image of another format would be left out in silence."""
    for name in _visible(folder):
        stem, ending = _parts(name)
        if ending in OTHER_ENDINGS and stem not in read:
            raise ValueError(f"{folder / name}: {_WHY_UNREAD}: convert the image, or move it out of this folder")


_WHY_UNREAD = f"is not read, as its ending is none of {', '.join(sorted(ENDINGS))}"


def _visible(folder: Path) -> list[str]:
    """Return the sorted names in a folder. Paths are several times as slow, and a folder may hold 100,000 files."""
    return sorted(utf8(name, folder) for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208


def _parts(name: str) -> tuple[str, str]:
    """Return the stem of a file's name in composed Unicode, and its ending in small letters."""
    stem, dot, ending = name.rpartition(".")
    return (composed(stem), f".{ending.lower()}") if dot else (composed(name), "")
