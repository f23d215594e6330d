"""Any data set in folders of images and masks."""

from dataclasses import dataclass
from pathlib import Path

from seglab.data.reading.formats import ENDINGS, OTHER_ENDINGS
from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.files import Pair, PairedFiles, composed
from seglab.data.sources.source import SegmentationSource
from seglab.sample import IGNORE

LAYOUT = "{train,val,test}/images/NAME.jpg and {train,val,test}/masks/NAME.png"


@dataclass(frozen=True)
class ImageMaskFolder(SegmentationSource):
    """Images in `{root}/{train,val,test}/images`, masks in `{root}/{train,val,test}/masks`, paired by the name without its ending.

    A mask holds class indices, 255 is ignored; an 8-bit PNG serves best. `docs/data.md` lists the formats, and how each is read.

    Raises:
        ValueError: a folder is missing or empty, a file has no partner, or names do not fit the number of classes.
    """

    root: Path
    """folder with the three splits."""
    num_classes: int
    """C; labels are 0…C-1."""
    class_names: tuple[str, ...] = ()
    """names of all C classes; without them "class 0", "class 1", …."""
    void: int | None = None
    """label besides 255 that is ignored; -1 or more than 255 if the masks' integer type holds it."""

    def __post_init__(self) -> None:
        if not 1 <= self.num_classes <= IGNORE:
            raise ValueError(f"num_classes is {self.num_classes}: expected 1 to {IGNORE}, as masks have 8 bits and {IGNORE} is ignored")
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ValueError(f"{len(self.class_names)} class_names for num_classes={self.num_classes}: name every class, or none")
        object.__setattr__(self, "root", Path(self.root))  # a string will do
        object.__setattr__(self, "class_names", tuple(self.class_names) or tuple(f"class {label}" for label in range(self.num_classes)))
        for split in SPLITS:
            self.split(split)

    def split(self, name: Split) -> SegmentationDataset:
        """Return the pairs of one split, sorted by name."""
        pairs = pair_by_stem(self.root / name / "images", self.root / name / "masks", LAYOUT)
        return PairedFiles(self.root, pairs, self.class_names, self.void)


def pair_by_stem(images: Path, masks: Path, layout: str) -> list[Pair]:
    """Return each image of a folder with the mask of the same stem, sorted. Composed and decomposed Unicode (NFC, NFD) are one stem.

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
        raise ValueError(f"{folder}: no such folder; below the root are expected {layout}: correct the root, or sort the files so")


def _by_stem(folder: Path, layout: str) -> dict[str, Path]:
    """Return the files of a folder that are read, by their stem in composed Unicode. Hidden files are left out."""
    require_folder(folder, layout)
    files: dict[str, Path] = {}
    for file in _visible(folder):
        if file.suffix.lower() not in ENDINGS:
            continue
        if (stem := _stem(file)) in files:
            raise ValueError(f"{file}: has the same name as {files[stem].name}, and files are paired by name: rename or remove one")
        files[stem] = file
    return files


def _require_partners(files: dict[str, Path], others: dict[str, Path], other_kind: str, folder: Path) -> None:
    """Raise a ValueError if a file has no partner in `folder`. The message names a file of the same stem whose ending is not read."""
    alone = [files[stem] for stem in sorted(files.keys() - others.keys())]
    if not alone:
        return
    kind = {"mask": "image", "image": "mask"}[other_kind]
    more = f" ({len(alone) - 1} more like it)" if len(alone) > 1 else ""
    unread = [file for file in _visible(folder) if composed(file.name).startswith(f"{_stem(alone[0])}.")]
    if unread:
        raise ValueError(f"{alone[0]}: the {other_kind} of this {kind} is {unread[0]}, which {_WHY_UNREAD}{more}: convert the {other_kind}")
    raise ValueError(
        f"{alone[0]}: this {kind} has no {other_kind} {alone[0].stem}.* in {folder}{more}: add the {other_kind}, or remove the {kind}"
    )


def _require_readable(read: dict[str, Path], folder: Path) -> None:
    """Raise a ValueError if an image of another format would be left out in silence."""
    for file in _visible(folder):
        if file.suffix.lower() in OTHER_ENDINGS and _stem(file) not in read:
            raise ValueError(f"{file}: {_WHY_UNREAD}: convert the image, or move it out of this folder")


_WHY_UNREAD = f"is not read, as its ending is none of {', '.join(sorted(ENDINGS))}"


def _visible(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if not file.name.startswith("."))


def _stem(file: Path) -> str:
    return composed(file.stem)
