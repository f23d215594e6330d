"""Any data set in folders of images and masks."""

from pathlib import Path

from seglab.data.loading.datamodule import SegmentationDataModule
from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.files import IMAGE_SUFFIXES, Pair, PairedFiles
from seglab.sample import IGNORE

LAYOUT = "{train,val,test}/images/NAME.jpg and {train,val,test}/masks/NAME.png"


class ImageMaskFolder(SegmentationDataModule):
    """Images in `{root}/{train,val,test}/images`, masks in `{root}/{train,val,test}/masks`, paired by the name without its ending.

    A mask is a PNG (8-bit grey or palette) of class indices; 255 is ignored. How images are read is told at `files.read_image`.

    Args:
        root: the folder with the three splits.
        num_classes: C; labels are 0…C-1.
        class_names: C names; None for "class 0", "class 1", ….
        void: a label besides 255 that is ignored.
        batch_size: of all ranks together.
        size: rows and columns to which images are resized; None to keep theirs.
        augment: whether training samples are augmented.
        num_workers: processes that prepare batches; None for what suits this machine.
        cache: keep the resized images in memory.
        train_fraction: the part of the training images that is used, evenly spread over their order, the same for every seed.
        balanced_images: how much of the order of training is drawn, with replacement, to favour images of rare classes: 0 shows every
            image once an epoch, 1 draws a class, a pixel of it, and the image that has it, in between is a mixture.
        crop: rows and columns of the crops to train on, cut after resizing and augmenting; None for whole images.
        balanced_crops: the part of the crops that is placed around a pixel of a class drawn from those of the image; the others lie
            anywhere.

    Raises:
        ValueError: a folder is missing or empty, a file has no partner, or names do not fit the number of classes.
    """

    def __init__(
        self,
        root: str | Path,
        num_classes: int,
        class_names: tuple[str, ...] | None = None,
        void: int | None = None,
        batch_size: int = 8,
        size: tuple[int, int] | None = None,
        augment: bool = True,
        num_workers: int | None = None,
        cache: bool = False,
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
        if not 1 <= num_classes <= IGNORE:
            raise ValueError(f"num_classes is {num_classes}: expected 1 to {IGNORE}, as masks have 8 bits and {IGNORE} is ignored")
        if class_names is not None and len(class_names) != num_classes:
            raise ValueError(f"{len(class_names)} class_names for num_classes={num_classes}: name every class, or none")
        self.root, self.void = Path(root), void
        self.class_names = class_names if class_names is not None else tuple(f"class {label}" for label in range(num_classes))
        for split in SPLITS:
            self.dataset(split)

    def dataset(self, split: Split) -> SegmentationDataset:
        """The pairs of one split, sorted by name."""
        pairs = pair_by_stem(self.root / split / "images", self.root / split / "masks", LAYOUT)
        return PairedFiles(self.root, pairs, self.class_names, self.void)


def pair_by_stem(images: Path, masks: Path, layout: str) -> list[Pair]:
    """Each image of a folder with the mask of the same stem, sorted.

    Raises:
        ValueError: a folder is missing or empty, two files share a stem, or a file has no partner.
    """
    image_of, mask_of = _by_stem(images, layout), _by_stem(masks, layout)
    if not image_of:
        raise ValueError(f"{images}: no images in it (endings {', '.join(sorted(IMAGE_SUFFIXES))}); expected {layout}")
    _require_partners(image_of, mask_of, "image", "mask", masks)
    _require_partners(mask_of, image_of, "mask", "image", images)
    return [Pair(image_of[stem], mask_of[stem]) for stem in sorted(image_of)]


def require_folder(folder: Path, layout: str) -> None:
    """Raises a ValueError that tells the layout where there is no such folder."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; below the root are expected {layout}: correct the root, or sort the files so")


def _by_stem(folder: Path, layout: str) -> dict[str, Path]:
    require_folder(folder, layout)
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in IMAGE_SUFFIXES or file.name.startswith("."):
            continue
        if file.stem in files:
            raise ValueError(f"{file}: has the same name as {files[file.stem].name}, and files are paired by name: rename or remove one")
        files[file.stem] = file
    return files


def _require_partners(files: dict[str, Path], others: dict[str, Path], kind: str, other_kind: str, folder: Path) -> None:
    alone = [files[stem] for stem in sorted(files.keys() - others.keys())]
    if alone:
        more = f" ({len(alone) - 1} more like it)" if len(alone) > 1 else ""
        raise ValueError(
            f"{alone[0]}: this {kind} has no {other_kind} {alone[0].stem}.* in {folder}{more}: add the {other_kind}, or remove the {kind}"
        )
