"""COCO: everyday scenes with 80 kinds of objects, and data of your own in its format.

T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014 (arXiv:1405.0312).
"""

from dataclasses import dataclass
from pathlib import Path

from seglab.data.sources.dataset import SPLITS, SegmentationDataset, Split
from seglab.data.sources.instances import InstanceMasks, read_instances, run_length_coder
from seglab.data.sources.official import held_out
from seglab.data.sources.source import SegmentationSource

LAYOUT = (
    "annotations/instances_{train,val}2017.json, train2017/*.jpg and val2017/*.jpg: `seglab download COCO --root D` gets them from "
    "https://cocodataset.org/#download; for data of your own, year='' names annotations/instances_{train,val,test}.json and the folders "
    "train, val and test"
)
EVERY = 20
"""One in so many images of the official training set is held out for validation."""


@dataclass(frozen=True)
class COCO(SegmentationSource):
    """COCO as semantic segmentation: the background and a class for each category, in the order of the categories' ids.

    Objects are drawn over each other, those with fewer pixels on top. Crowds are ignored where no object covers them.
    The background holds everything else, because COCO's instances cover no walls, roads or skies. pycocotools is
    needed: pip install 'seglab[coco]'.

    If there is annotations/instances_test{year}.json, the three files are the three splits. COCO's own test annotations
    are not public. Without them, instances_val (5000 images) is the test split. Of the images of instances_train (118
    287), every twentieth by name is held out for validation (5914), and the others train (112 373).

    Raises:
        ValueError: files are missing or damaged, or the files differ in their categories.
        ImportError: pycocotools is not installed.
    """

    root: Path
    """folder with annotations and the folders of images."""
    year: str = "2017"
    """last part of the names of files and folders: 2017, 2014, or an empty text for data of your own."""

    def __post_init__(self) -> None:
        run_length_coder()  # raises now, and not at the first sample
        object.__setattr__(self, "root", Path(self.root))  # a string will do
        for split in SPLITS:
            self.split(split)

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]  # read from the annotations
        """Names of the background and of the categories."""
        return read_instances(self._annotations("val")).class_names

    def split(self, name: Split) -> SegmentationDataset:
        """Return the images of one split, sorted by name."""
        own = self._annotations("test").is_file()
        part: Split = name if own else "val" if name == "test" else "train"
        file, folder = self._annotations(part), self.root / f"{part}{self.year}"
        for needed in (self._annotations("val"), file):
            if not needed.is_file():
                raise ValueError(f"{needed}: no such file; expected {LAYOUT}")
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder; expected {LAYOUT}")
        content = read_instances(file)
        if content.class_names != self.class_names:
            raise ValueError(f"{file}: has other categories than {self._annotations('val')}; expected the same in all files: correct them")
        images = list(content.images)
        if not own and name != "test":
            images = held_out(images, EVERY)[0 if name == "train" else 1]
        there = {path.name for path in folder.iterdir()}
        if missing := [image.file_name for image in images if Path(image.file_name).parts[0] not in there]:
            more = f" ({len(missing) - 1} others are missing too)" if len(missing) > 1 else ""
            raise ValueError(f"{folder / missing[0]}: no such file{more}; expected {LAYOUT}")
        return InstanceMasks(file, folder, content.class_names, images)

    def _annotations(self, part: Split) -> Path:
        return self.root / "annotations" / f"instances_{part}{self.year}.json"
