"""`ImageMaskFolder` on every layout × splits × labels through the data module, and its messages about wrong ones."""

import os
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image

from seglab.data import (
    SPLITS,
    ImageMaskFolder,
    KFold,
    Pool,
    RandomSplit,
    SegmentationDataModule,
    SegmentationSource,
    Shapes,
    Split,
    SplitRule,
)
from seglab.data.sources.patterns import Pattern
from tests.data.layouts import FLAT, FOLDERS, LABELS, SPLIT_OF, index_mask, key, numbers_of, write

LABEL = pytest.mark.parametrize("label", LABELS)


def loaded(source: SegmentationSource) -> SegmentationDataModule:
    """Return a data module whose data are checked."""
    data = SegmentationDataModule(source, batch_size=2, augmentation=None, num_workers=0)
    data.check()
    return data


def lists_in(root: Path, line: Callable[[str, Path], str], image: str) -> None:
    """Write a list for each split, in reverse order."""
    (root / "splits").mkdir()
    for split, numbers in SPLIT_OF.items():
        lines = [line(key(number), Path(image.format(key=key(number), city=f"p{number // 3}"))) for number in reversed(numbers)]
        (root / "splits" / f"{split}.txt").write_text("\n".join(lines) + "\n")


@LABEL
@pytest.mark.parametrize("layout", FOLDERS)
def test_folders_of_splits_are_read(tmp_path: Path, layout: str, label: str) -> None:
    (image, mask, where), (drawn, what) = FOLDERS[layout], LABELS[label]
    data = loaded(ImageMaskFolder(write(tmp_path, image, mask, drawn), **where, **what))
    assert {split: numbers_of(data.used(split)) for split in SPLITS} == {split: list(numbers) for split, numbers in SPLIT_OF.items()}
    assert data.class_names == (("back", "cell") if "classes" in what else ("class 0", "class 1"))


@LABEL
@pytest.mark.parametrize("layout", FLAT)
def test_one_folder_is_divided_by_lists_and_by_rules(tmp_path: Path, layout: str, label: str) -> None:
    (image, mask, where), (drawn, what) = FLAT[layout], LABELS[label]
    root = write(tmp_path, image, mask, drawn)
    lists_in(root, lambda name, path: str(path), image)
    listed = loaded(ImageMaskFolder(root, **where, **what, lists=Path("splits/{split}.txt")))
    assert {split: numbers_of(listed.used(split)) for split in SPLITS} == {split: list(numbers) for split, numbers in SPLIT_OF.items()}
    for rule in (RandomSplit(0.25, 0.25, seed=1), RandomSplit(0.25, 0.25, stratified=True), KFold(2, 4)):
        data = loaded(ImageMaskFolder(root, **where, **what, splits=rule))
        assert sorted(number for split in SPLITS for number in numbers_of(data.used(split))) == list(range(12))
        assert [len(data.used(split)) for split in SPLITS] == [6, 3, 3]


LINES: dict[str, Callable[[str, Path], str]] = {
    "shared part": lambda name, path: name,
    "file name": lambda name, path: path.name,
    "path": lambda name, path: str(path),
    "path without ending": lambda name, path: str(path.with_suffix("")),
    "another machine's path": lambda name, path: f"/home/them/data/{path}",
    "relative path": lambda name, path: f"./{path}",
    "image and mask": lambda name, path: f"/JPEG/{path} /PNG/masks/{name}.png",
    "image, mask": lambda name, path: f"{path},masks/{name}.png",
    "mask": lambda name, path: f"masks/{name}.png",
    "Windows": lambda name, path: f"{name}\r",
    "byte order mark": lambda name, path: f"\ufeff{name}" if name == key(5) else name,
}


@pytest.mark.parametrize("form", LINES)
def test_forms_of_lists(tmp_path: Path, form: str) -> None:
    root = write(tmp_path, "images/{key}.jpg", "masks/{key}.png", index_mask)
    lists_in(root, LINES[form], "images/{key}.jpg")
    source = ImageMaskFolder(root, 2, lists=Path("splits/{split}.txt"))
    assert numbers_of(source.split("train")) == list(SPLIT_OF["train"])
    elsewhere = shutil.move(root / "splits", tmp_path.parent / f"{tmp_path.name} lists")
    assert numbers_of(ImageMaskFolder(root, 2, lists=Path(elsewhere) / "{split}.txt").split("val")) == list(SPLIT_OF["val"])


def test_a_rule_divides_what_is_not_the_official_test_split(tmp_path: Path) -> None:
    """Train and val together, or train alone; the test split stays."""
    where = {"images": "{split}/*.jpg", "masks": "{split}/*.png"}
    root = write(tmp_path, "{split}/{key}.jpg", "{split}/{key}.png", index_mask)
    source = ImageMaskFolder(root, 2, **where, splits=RandomSplit(1 / 3, 0, seed=2))  # type: ignore[arg-type]
    assert numbers_of(source.split("test")) == list(SPLIT_OF["test"])
    assert sorted(numbers_of(source.split("train")) + numbers_of(source.split("val"))) == list(range(9))
    assert len(source.split("val")) == 3
    folds = [ImageMaskFolder(root, 2, **where, splits=KFold(fold, 3)) for fold in range(3)]  # type: ignore[arg-type]
    assert sorted(number for fold in folds for number in numbers_of(fold.split("val"))) == list(range(9))
    shutil.rmtree(root / "val")
    alone = ImageMaskFolder(root, 2, **where, splits=RandomSplit(0.5, 0))  # type: ignore[arg-type]
    assert [len(alone.split(split)) for split in SPLITS] == [3, 3, 3]
    with pytest.raises(ValueError, match=r"with {split} = val: no such files; .* has .*train/\*.jpg \(6\).*expected train, val and test"):
        ImageMaskFolder(root, 2, **where)  # type: ignore[arg-type]


def test_a_rule_divides_what_is_not_on_the_list_of_test_samples(tmp_path: Path) -> None:
    """The other lists are there or not; what is on none of several lists is left out."""
    root = write(tmp_path, "images/{key}.jpg", "masks/{key}.png", index_mask)
    lists_in(root, LINES["shared part"], "images/{key}.jpg")
    (root / "splits" / "val.txt").write_text(f"{key(6)}\n")
    rule, lists = RandomSplit(0.25, 0, seed=1), Path("splits/{split}.txt")
    source = ImageMaskFolder(root, 2, lists=lists, splits=rule)
    assert numbers_of(source.split("test")) == list(SPLIT_OF["test"])
    assert sorted(numbers_of(source.split("train")) + numbers_of(source.split("val"))) == list(range(7))
    for split in ("train", "val"):
        (root / "splits" / f"{split}.txt").unlink()
    alone = ImageMaskFolder(root, 2, lists=lists, splits=rule)
    assert numbers_of(alone.split("test")) == list(SPLIT_OF["test"])
    assert sorted(numbers_of(alone.split("train")) + numbers_of(alone.split("val"))) == list(range(9))
    with pytest.raises(ValueError, match=r"splits/{split}.txt with {split} = train: no such files"):
        ImageMaskFolder(root, 2, lists=lists)


def test_a_rule_needs_samples_besides_the_official_ones(tmp_path: Path) -> None:
    root = write(tmp_path, "{split}/{key}.jpg", "{split}/{key}.png", index_mask, range(9, 12))
    with pytest.raises(
        ValueError, match=r"'{split}/\*.jpg' matches no samples of train or val .* has test/\*.jpg \(3\).*: correct the patterns"
    ):
        ImageMaskFolder(root, 2, images="{split}/*.jpg", masks="{split}/*.png", splits=RandomSplit(0.25, 0))
    with pytest.raises(ValueError, match=r"images '{split}_x/\*.jpg' matches no file for {split} = test; .* has test/\*.jpg \(3\)"):
        ImageMaskFolder(root, 2, images="{split}_x/*.jpg", masks="{split}/*.png", splits=RandomSplit(0.25, 0))


def test_samples_of_one_name_in_two_folders_are_two_samples(tmp_path: Path) -> None:
    write(tmp_path, "train/{key}.jpg", "train/{key}.png", index_mask, range(4))
    write(tmp_path, "val/{key}.jpg", "val/{key}.png", index_mask, range(4))
    write(tmp_path, "test/{key}.jpg", "test/{key}.png", index_mask, range(4))
    source = ImageMaskFolder(tmp_path, 2, images="{split}/*.jpg", masks="{split}/*.png", splits=KFold(0, 2))
    assert sorted(numbers_of(source.split("train")) + numbers_of(source.split("val"))) == sorted([0, 1, 2, 3] * 2)


@dataclass(frozen=True)
class Third(SplitRule):
    """A user's own rule: every third sample by its name, the first ones for a split."""

    order: tuple[Split, ...]
    seed: int = 0

    def assign(self, pool: Pool) -> list[Split]:
        return [self.order[index % len(self.order)] for index in range(len(pool.names))]


def test_a_rule_of_ones_own_divides(tmp_path: Path) -> None:
    root = write(tmp_path, "images/{key}.jpg", "masks/{key}.png", index_mask)
    source = ImageMaskFolder(root, 2, splits=Third(("val", "test", "train")))
    assert [numbers_of(source.split(split)) for split in SPLITS] == [[2, 5, 8, 11], [0, 3, 6, 9], [1, 4, 7, 10]]
    with pytest.raises(ValueError, match="Third leaves no samples for test: expected at least one for train, val and test"):
        ImageMaskFolder(root, 2, splits=Third(("val", "train")))
    with pytest.raises(ValueError, match=r"Third.assign returned 'vall'; expected train, val or test for each of the 12 samples"):
        ImageMaskFolder(root, 2, splits=Third(("val", "train", "test", "vall")))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="splits is 'RandomSplit': expected a SplitRule, such as RandomSplit"):
        ImageMaskFolder(root, 2, splits="RandomSplit")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"images/p0_00.jpg: its group 'p0' is in the splits train and val"):
        ImageMaskFolder(root, 2, splits=Third(("val", "train", "test")), group=PATIENT)


PATIENT = "^p[0-9]+"


@pytest.mark.parametrize("rule", [RandomSplit(0.25, 0.25), RandomSplit(0.25, 0.25, stratified=True), KFold(1, 3), KFold(0, 4)])
@pytest.mark.parametrize("group", [PATIENT, "^(p[0-9]+)_"])
def test_a_patient_is_in_one_split(tmp_path: Path, rule: Any, group: str) -> None:
    source = ImageMaskFolder(write(tmp_path, "images/{key}.jpg", "masks/{key}.png", index_mask), 2, splits=rule, group=group)
    patients = {split: {number // 3 for number in numbers_of(source.split(split))} for split in SPLITS}
    assert sorted(patient for own in patients.values() for patient in own) == [0, 1, 2, 3]
    for split in SPLITS:
        assert source.groups(split) == [f"p{number // 3}" for number in numbers_of(source.split(split))]


def test_groups_of_folders_are_named_and_must_not_be_cut(tmp_path: Path) -> None:
    root = write(tmp_path, "{split}/images/{key}.jpg", "{split}/masks/{key}.png", index_mask)
    assert ImageMaskFolder(root, 2, group=PATIENT).groups("val") == ["p2"] * 3
    assert ImageMaskFolder(root, 2).groups("val") is None
    assert Shapes().groups("val") is None
    write(tmp_path, "val/images/{key}.jpg", "val/masks/{key}.png", index_mask, [0])
    with pytest.raises(
        ValueError, match=r"val/images/p0_00.jpg: its group 'p0' is in the splits train and val: expected groups that are in one"
    ):
        ImageMaskFolder(root, 2, group=PATIENT)
    assert len(ImageMaskFolder(root, 2).split("val")) == 4


def test_a_changed_assignment_is_another_study(tmp_path: Path) -> None:
    """The same files and arguments, other lists; and the same files, another seed."""
    root = write(tmp_path, "images/{key}.jpg", "masks/{key}.png", index_mask)
    lists_in(root, LINES["path"], "images/{key}.jpg")
    lists = Path("splits/{split}.txt")
    before = loaded(ImageMaskFolder(root, 2, lists=lists)).identity()
    train, val = root / "splits" / "train.txt", root / "splits" / "val.txt"
    train.write_text(train.read_text().replace(key(0), key(6)))
    val.write_text(val.read_text().replace(key(6), key(0)))
    after = loaded(ImageMaskFolder(root, 2, lists=lists)).identity()
    assert before["source"] == after["source"]
    assert before["splits"]["test"] == after["splits"]["test"]
    assert all(before["splits"][split] != after["splits"][split] for split in ("train", "val"))
    one, other, again = (loaded(ImageMaskFolder(root, 2, splits=RandomSplit(0.25, 0.25, seed))).identity() for seed in (0, 1, 0))
    assert one["splits"] != other["splits"]
    assert one["splits"] == again["splits"]


def test_a_smaller_train_fraction_is_part_of_a_larger_one_where_a_rule_divides(tmp_path: Path) -> None:
    root = write(tmp_path, "images/{key}.jpg", "masks/{key}.png", index_mask)
    source = ImageMaskFolder(root, 2, splits=RandomSplit(0.1, 0.1))
    kept = [
        set(numbers_of(SegmentationDataModule(source, batch_size=1, train_fraction=fraction).used("train")))
        for fraction in (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0)
    ]
    assert [len(part) for part in kept] == [1, 2, 3, 4, 5, 7, 9, 10]
    assert all(few < many for few, many in pairwise(kept))


def test_files_that_are_none_of_the_data_change_nothing(tmp_path: Path) -> None:
    root = write(tmp_path, "images/{key}.jpg", "labels/{key}_mask.png", index_mask)
    where: dict[str, Any] = {"images": "images/*.jpg", "masks": "labels/*_mask.png", "splits": RandomSplit(0.25, 0.25)}
    before = loaded(ImageMaskFolder(root, 2, **where)).identity()["splits"]
    (root / "images" / ".hidden.jpg").write_text("x")
    (root / "images" / "notes.txt").write_text("x")
    (root / "labels" / "p0_00_preview.png").write_text("x")
    (root / "other").mkdir()
    (root / "other" / "p0_00.jpg").write_text("x")
    assert loaded(ImageMaskFolder(root, 2, **where)).identity()["splits"] == before


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_composed_and_decomposed_names_are_one_name(tmp_path: Path, forms: tuple[Literal["NFC", "NFD"], Literal["NFC", "NFD"]]) -> None:
    """In patterns, files and lists; a rule divides both alike."""
    divided = []
    for number, (images, masks) in enumerate((forms, ("NFC", "NFC"))):
        root = write(tmp_path / str(number), "Bilder é/{key}é.jpg", "masks/{key}é.png", index_mask)
        lists_in(root, lambda name, path: unicodedata.normalize(forms[0], f"Bilder é/{name}é.jpg"), "{key}")
        for folder, form in (("Bilder é", images), ("masks", masks)):
            for file in list((root / folder).iterdir()):
                file.rename(file.with_name(unicodedata.normalize(form, file.name)))
        for more in ({"lists": Path("splits/{split}.txt")}, {"splits": RandomSplit(0.25, 0.25)}):
            where: dict[str, Any] = {"images": "Bilder é/*.jpg", "masks": "masks/*.png", **more}
            divided.append([numbers_of(ImageMaskFolder(root, 2, **where).split(split)) for split in SPLITS])
    assert divided[0] == [list(numbers) for numbers in SPLIT_OF.values()]
    assert divided[:2] == divided[2:]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    write(tmp_path / "store", "images/{key}.jpg", "masks/{key}.png", index_mask)
    (tmp_path / "data").mkdir()
    for name in ("images", "masks"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "store" / name)
    (tmp_path / "store" / "images" / "up").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "images" / "here").symlink_to(tmp_path / "store" / "images")
    source = ImageMaskFolder(tmp_path / "data", 2, images="images/**/*.jpg", masks="masks/**/*.png", splits=RandomSplit(0.25, 0.25))
    assert sum(len(source.split(split)) for split in SPLITS) == 12


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_not_left_out_in_silence(tmp_path: Path) -> None:
    root = write(tmp_path, "images/{city}/{key}.jpg", "masks/{city}/{key}.png", index_mask)
    (root / "images" / "p1").chmod(0)
    try:
        with pytest.raises(ValueError, match=r"images/p1: this folder cannot be listed \(Permission denied\): correct its permissions"):
            ImageMaskFolder(root, 2, images="images/*/*.jpg", masks="masks/*/*.png", splits=KFold(0, 4))
    finally:
        (root / "images" / "p1").chmod(0o700)


def flat(root: Path) -> Path:
    return write(root, "images/{key}.jpg", "labels/{key}_mask.png", index_mask)


WHERE: dict[str, Any] = {"images": "images/*.jpg", "masks": "labels/*_mask.png", "splits": RandomSplit(0.25, 0.25)}

ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"images": "imgs/*.jpg"}, r"images 'imgs/\*.jpg' matches no file; .* has images/\*.jpg \(12\), labels/\*.png \(12\).*; a pattern is"),
    ({"images": "images/*.png"}, r"images 'images/\*.png' matches no file; .* has images/\*.jpg \(12\)"),
    ({"masks": "labels/*.png"}, r"p0_00.jpg: this image has no mask labels/p0_00.png in .*: there is labels/p0_00_mask.png: correct masks"),
    ({"masks": None}, "images and masks are patterns that belong together: give both, or neither"),
    ({"masks": "images/*.jpg"}, "images and masks are both 'images/.*.jpg': expected patterns that tell them apart"),
    ({"masks": "*/*_mask.png"}, r"images 'images/\*.jpg' has 1 wildcards, masks '\*/\*_mask.png' 2: expected the same number"),
    ({"images": "images/a.jpg"}, r"images is 'images/a.jpg': expected a path below root with a \*"),
    ({"images": "/data/*.jpg"}, r"images is '/data/\*.jpg': expected a path below root"),
    ({"images": "../d/*.jpg"}, r"expected a path below root"),
    ({"images": ""}, r"images is '': expected a path below root"),
    ({"images": "images/[ab]*.jpg"}, r"known are \*, a folder \*\* and {split}"),
    ({"images": "images/a**.jpg"}, r"known are \*, a folder \*\* and {split}"),
    ({"images": "images/{name}*.jpg"}, r"known are \*, a folder \*\* and {split}"),
    ({"masks": "labels/*.nii.gz"}, r"masks is 'labels/\*.nii.gz': files with the ending .gz are not read, but .bmp"),
    ({"splits": None}, "nothing says which samples are train, val and test: put {split} into the patterns images and masks, give lists"),
    ({"lists": Path("train.txt")}, "lists is 'train.txt': expected a path with {split}, such as 'splits/{split}.txt'"),
    ({"lists": Path("{split}.lst")}, r"{split}.lst: there is no such file, with {split} = train, val or test: correct lists"),
    ({"lists": Path("{split}.txt"), "images": "{split}/*.jpg"}, "lists is given, and images or masks have {split}: .* leave one out"),
    ({"group": "(["}, r"group is '\(\[', which is no regular expression \(.*\): expected one such as"),
    ({"group": "^(q[0-9])"}, r"images/p0_00.jpg: group '\^\(q\[0-9\]\)' finds nothing in 'p0_00', which image and mask share"),
    ({"group": "p[0-9]", "splits": KFold(0, 5)}, "4 groups for 5 parts: expected at least one for each part"),
    ({"splits": RandomSplit(0.5, 0)}, "test_fraction is 0, and there are no test samples: expected more than 0"),
    ({"class_names": "ab"}, "class_names is the text .ab.: expected a tuple of names"),
    ({"labels": {"0": 0, "1": 1}}, "labels is {'0': 0, '1': 1}: expected the class of each label, both whole numbers"),
    ({"labels": {0: 0, 1: 1.5}}, "both whole numbers"),
    ({"labels": [0, 1]}, r"labels is \[0, 1\]: expected the class of each label"),
    ({"labels": {0: 0, 1: 1}, "void": 1}, "labels gives the label 1 the class 1, and void is 1, which is ignored: correct one of them"),
]


@pytest.mark.parametrize(("changed", "message"), ARGUMENTS, ids=str)
def test_wrong_arguments_are_explained(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    root = flat(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        ImageMaskFolder(root, 2, **{**WHERE, **changed})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("words", [("Train", "Val", "Test"), ("TRAIN", "VALID", "TEST"), ("Training", "Validation", "testing")])
@pytest.mark.parametrize(
    "layout", ["{split}/images/{key}.JPG", "images/{split}/{key}.jpg", "deep/{key}/{split}/a.jpg", "{split}_{key}.jpg"]
)
def test_the_case_of_the_folders_does_not_matter(tmp_path: Path, words: tuple[str, str, str], layout: str) -> None:
    masks = layout.replace(".", "_mask.").lower().replace("jpg", "png")
    for split, word in zip(SPLIT_OF, words, strict=True):
        for number in SPLIT_OF[split]:
            for kind, file in (("image", layout), ("mask", masks)):
                path = tmp_path / file.format(split=word, key=key(number))
                path.parent.mkdir(parents=True, exist_ok=True)
                (Image.new("RGB", (8, 4)) if kind == "image" else index_mask(number)).save(path)
    source = ImageMaskFolder(tmp_path, 2, images=layout.replace("{key}", "*"), masks=masks.replace("{key}", "*"))
    assert [len(source.split(split)) for split in SPLITS] == [6, 3, 3]


@pytest.mark.parametrize("layout", ["{split}/{key}.png", "all/{split}_{key}.png", "{key}/{split}/a.png"])
def test_two_folders_of_one_split_are_refused(tmp_path: Path, layout: str) -> None:
    """None of them is left out in silence."""
    for word in ("train", "val", "valid", "test"):
        for number, kind in enumerate(("images", "masks")):
            path = tmp_path / kind / layout.format(split=word, key=key(number))
            path.parent.mkdir(parents=True, exist_ok=True)
            index_mask(number).save(path)
    pattern = layout.replace("{key}", "*")
    with pytest.raises(ValueError, match=r"\{split\} = val and valid, which all mean val: expected one of them"):
        ImageMaskFolder(tmp_path, 2, images=f"images/{pattern}", masks=f"masks/{pattern}")


def test_two_lists_of_one_split_are_refused(tmp_path: Path) -> None:
    root = flat(tmp_path)
    for word, numbers in {**SPLIT_OF, "validation": range(6, 7)}.items():
        (root / f"{word}.txt").write_text("\n".join(key(number) for number in numbers))
    with pytest.raises(ValueError, match=r"val.txt: there is validation.txt too, and both mean val: expected one of them"):
        ImageMaskFolder(root, 2, images="images/*.jpg", masks="labels/*_mask.png", lists=Path("{split}.txt"))


def another_ending(root: Path) -> None:
    (root / "labels" / "p1_03_mask.png").rename(root / "labels" / "p1_03_mask.tga")


def another_case(root: Path) -> None:
    (root / "labels" / "p1_03_mask.png").rename(root / "labels" / "P1_03_Mask.png")


def no_mask(root: Path) -> None:
    (root / "labels" / "p1_03_mask.png").unlink()


def no_image(root: Path) -> None:
    (root / "images" / "p1_03.jpg").unlink()


def an_image_of_another_ending(root: Path) -> None:
    (root / "images" / "p1_03.jpg").rename(root / "images" / "p1_03.jpeg")


def two_endings(root: Path) -> None:
    Image.new("RGB", (8, 4)).save(root / "images" / "p1_03.JPG")


def no_root(root: Path) -> None:
    shutil.rmtree(root)


def empty_root(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (another_ending, r"p1_03.jpg: this image has no mask labels/p1_03_mask.png in .*: there is labels/p1_03_mask.tga: correct masks"),
    (another_case, r"p1_03.jpg: this image has no mask labels/p1_03_mask.png in .*: there is labels/P1_03_Mask.png"),
    (no_mask, r"p1_03.jpg: this image has no mask labels/p1_03_mask.png in .*: add the mask, or remove the image"),
    (no_image, r"p1_03_mask.png: this mask has no image images/p1_03.jpg in .*: add the image, or remove the mask"),
    (
        an_image_of_another_ending,
        r"p1_03_mask.png: this mask has no image images/p1_03.jpg in .*: there is images/p1_03.jpeg: correct images",
    ),
    (two_endings, r"p1_03.jpg: has the same name as p1_03.JPG where images 'images/\*.jpg' has its \*, .*: rename or remove one"),
    (no_root, r"images 'images/\*.jpg' matches no file; .* is no folder: correct root"),
    (empty_root, r"images 'images/\*.jpg' matches no file; .* has no files"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_wrong_files_are_named(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    root = flat(tmp_path / "data")
    damage(root)
    with pytest.raises(ValueError, match=message) as caught:
        ImageMaskFolder(root, 2, **WHERE)
    assert "\n" not in str(caught.value)


def another_suffix(root: Path) -> None:
    (root / "labels" / "p1_03_mask.png").rename(root / "labels" / "p1_03_seg.png")


def test_a_mask_of_another_suffix_is_named(tmp_path: Path) -> None:
    root = flat(tmp_path)
    another_suffix(root)
    with pytest.raises(ValueError, match=r"p1_03.jpg: this image has no mask labels/p1_03_mask.png in .*: there is labels/p1_03_seg.png"):
        ImageMaskFolder(root, 2, **WHERE)


def test_masks_of_one_folder_belong_to_one_split(tmp_path: Path) -> None:
    """Layouts in which only the path of the images, or only that of the masks, tells the split."""
    root = write(tmp_path, "{split}/{key}.jpg", "gt/{key}.png", index_mask)
    where: dict[str, Any] = {"images": "{split}/*.jpg", "masks": "gt/*.png"}
    shutil.copy(root / "train" / "p0_00.jpg", root / "val" / "p0_00.jpg")
    with pytest.raises(ValueError, match=r"gt/p0_00.png: is in the splits train and val: expected splits without a common file"):
        ImageMaskFolder(root, 2, **where)
    (root / "val" / "p0_00.jpg").unlink()
    (root / "train" / "p0_00.jpg").unlink()
    with pytest.raises(
        ValueError, match=r"gt/p0_00.png: this mask has no image {split}/p0_00.jpg in .*: add the image, or remove the mask"
    ):
        ImageMaskFolder(root, 2, **where)
    other = write(tmp_path / "other", "images/{key}.jpg", "{split}/{key}.png", index_mask)
    source = ImageMaskFolder(other, 2, images="images/*.jpg", masks="{split}/*.png")
    assert {split: numbers_of(source.split(split)) for split in SPLITS} == {split: list(numbers) for split, numbers in SPLIT_OF.items()}


def test_an_image_of_a_format_that_is_not_read_is_not_left_out_in_silence(tmp_path: Path) -> None:
    root = write(tmp_path, "images/{key}.jpg", "masks/{key}.png", index_mask)
    (root / "images" / "p0_00.dng").write_text("beside a picture that is read")
    assert len(ImageMaskFolder(root, 2, splits=KFold(0, 4)).split("val")) == 3
    (root / "images" / "p9_99.heic").write_text("alone")
    with pytest.raises(
        ValueError, match=r"p9_99.heic: is not read, as its ending is none of .*: convert the file, or move it out of what images"
    ):
        ImageMaskFolder(root, 2, splits=KFold(0, 4))


LISTS: list[tuple[str, str, str]] = [
    (
        "train",
        "p0_00\np7_77\n",
        r"train.txt, line 2: 'p7_77' is none of the 12 images that the pattern matches: correct",
    ),
    ("train", "p0_00\n\np0_01\np0_00\n", r"train.txt, line 4: 'p0_00' is listed twice, first in line 1: remove one line"),
    ("val", "p0_00\n", r"images/p0_00.jpg: is in the splits train and val: expected splits without a common file"),
    ("val", "\n\n", r"val.txt: lists no samples; expected the name of a sample in each line"),
    (
        "test",
        "images/p0_00.jpg labels/p0_01_mask.png\n",
        r"test.txt, line 1: 'labels/p0_01_mask.png' is not the mask of 'images/p0_00.jpg'",
    ),
    ("train", "zzz.jpg p0_00\n", r"train.txt, line 1: 'zzz.jpg p0_00' is none of the 12 images"),
    ("train", "elsewhere/p0_00.png\n", r"line 1: 'elsewhere/p0_00.png' is none of the 12 images"),
]


@pytest.mark.parametrize(("split", "text", "message"), LISTS)
def test_wrong_lists_are_explained(tmp_path: Path, split: Split, text: str, message: str) -> None:
    root = flat(tmp_path)
    lists_in(root, LINES["shared part"], "images/{key}.jpg")
    (root / "splits" / f"{split}.txt").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        ImageMaskFolder(root, 2, images="images/*.jpg", masks="labels/*_mask.png", lists=Path("splits/{split}.txt"))
    assert "\n" not in str(caught.value)


def test_a_listed_sample_needs_both_files_and_a_name_that_means_one(tmp_path: Path) -> None:
    root = write(tmp_path, "images/{city}/{key}.jpg", "masks/{city}/{key}.png", index_mask)
    lists_in(root, LINES["path"], "images/{city}/{key}.jpg")
    where: dict[str, Any] = {"images": "images/*/*.jpg", "masks": "masks/*/*.png", "lists": Path("splits/{split}.txt")}
    (root / "masks" / "p0" / "p0_01.png").unlink()
    with pytest.raises(
        ValueError, match=r"train.txt, line 5: .* has no mask that the pattern matches, but .*images/p0/p0_01.jpg: add it, or"
    ):
        ImageMaskFolder(root, 2, **where)
    text = (root / "splits" / "train.txt").read_text()
    (root / "splits" / "train.txt").write_text(text.replace("images/p0/p0_01.jpg\n", ""))
    assert len(ImageMaskFolder(root, 2, **where).split("train")) == 5
    shutil.copytree(root / "images" / "p0", root / "images" / "p8")
    (root / "splits" / "train.txt").write_text("p0_00\n")
    with pytest.raises(ValueError, match=r"line 1: 'p0_00' may be p0/p0_00 or p8/p0_00: write the path of the image below root"):
        ImageMaskFolder(root, 2, **where)
    (root / "splits" / "train.txt").write_text("p7/p0_00\n")
    with pytest.raises(ValueError, match=r"line 1: 'p7/p0_00' is none of the 15 images that the pattern matches \(did you mean p\d/p0_00"):
        ImageMaskFolder(root, 2, **where)


@pytest.mark.parametrize(
    ("text", "key", "path"),
    [
        ("a/*.jpg", "1", "a/1.jpg"),
        ("a/*_m", "1", "a/1_m.*"),
        ("a/*.v2.*", "1", "a/1.v2.*"),
        ("./a/*.*", "1.5", "a/1.5.*"),
        ("a.b/*", "1.5", "a.b/1.5.*"),
        ("*", "1", "1.*"),
        ("*/m/*.png", "p/1", "p/m/1.png"),
        ("a/**/*.png", "1", "a/1.png"),
        ("a/**/*.png", "x/y/1", "a/x/y/1.png"),
        ("**", "x/1", "x/1.*"),
        ("*/**/*_*.png", "p/x/1/2", "p/x/1_2.png"),
    ],
)
def test_the_path_that_a_pattern_expects(tmp_path: Path, text: str, key: str, path: str) -> None:
    """And what it finds: the pattern matches the path that it expects."""
    assert Pattern(text, "images").example(key) == path
    file = tmp_path / path.replace(".*", ".bmp")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    assert Pattern(text, "images").files(tmp_path) == {key: file}
