"""`seglab audit`: it guesses a folder's layout and labels, and prints a command that reads the folder.

The HTML page holds the findings.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seglab import cli
from seglab.data import SPLITS, ImageMaskFolder, RandomSplit
from seglab.data.audit.bare import Bare
from seglab.data.audit.layout import guess
from seglab.data.sources.dataset import default_palette
from tests.data import audit_picture
from tests.data.audited import Namer, Pixels, usual, write_shapes

FIELDS = ImageMaskFolder.__dataclass_fields__


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def audit(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str, str]:
    """Run `seglab audit`; return its exit code, and what it prints to stdout and stderr."""
    before = sys.argv, list(sys.path)
    sys.argv = ["seglab", "audit", *shlex.split(line)]
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        sys.argv, sys.path[:] = before
    assert isinstance(ended.value.code, int)
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def in_files(pattern: str) -> Namer:
    """Return names such as `imgs/training/003.png`, from a pattern with {kind}, {split} and {number}."""
    words = {"train": "training", "val": "validation", "test": "test"}

    def name(split: str, kind: str, number: int) -> str:
        end, annot = {"images": ("", ""), "masks": ("_mask", "annot")}[kind]
        number += {"train": 0, "val": 100, "test": 200}[split] if "{split}" not in pattern and "{long}" not in pattern else 0
        return pattern.format(split=split, long=words[split], kind=kind, number=f"{number:03d}", end=end, annot=annot)

    return name


def test_the_data_set_of_the_picture_has_the_two_faults_that_it_shows(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page shows the command too, which must be that of today."""
    audit_picture.main(Path("shapes"))
    code, out, _ = audit(capsys, "shapes")
    assert code == 2
    assert "51 samples: 2 errors, 0 warnings, 0 notes" in out
    for shown in ("1 sample cannot be used", "equal images in several splits"):
        assert shown in out
    command = "seglab fit --model.network seglab.network --model.network.encoder resnet18 --model.network.num_classes 6"
    assert f"{command} --data.source ImageMaskFolder --data.source.root shapes --data.source.num_classes 6\n" in out


LAYOUTS = [
    ("{split}/{kind}/{number}.png", "{split}/images/*.png", "{split}/masks/*.png", ["train", "val", "test"]),
    ("{kind}/{split}/{number}.png", "images/{split}/*.png", "masks/{split}/*.png", ["train", "val", "test"]),
    ("{kind}/{long}/{number}{end}.png", "images/{split}/*.png", "masks/{split}/*_mask.png", ["train", "val", "test"]),
    ("{kind}/{number}.png", "images/*.png", "masks/*.png", [""]),
    ("{number}{end}.png", "*.png", "*_mask.png", [""]),
    ("{split}_{kind}/{number}.png", "{split}_images/*.png", "{split}_masks/*.png", ["train", "val", "test"]),
    ("{kind}-{long}/{number}.png", "images-{split}/*.png", "masks-{split}/*.png", ["train", "val", "test"]),
    ("{split}{annot}/{number}.png", "{split}/*.png", "{split}annot/*.png", ["train", "val", "test"]),
    ("deep/er/{split}/{number}{end}.png", "deep/er/{split}/*.png", "deep/er/{split}/*_mask.png", ["train", "val", "test"]),
]


@pytest.mark.parametrize(("pattern", "images", "masks", "splits"), LAYOUTS)
def test_a_layout_is_found(tmp_path: Path, pattern: str, images: str, masks: str, splits: list[str]) -> None:
    root = write_shapes(tmp_path / "data", each=4, name=in_files(pattern))
    (root / "README.md").write_text("beside the data")
    found = guess(root)
    assert (found.images, found.masks, list(found.pairs)) == (images, masks, splits)
    assert sum(map(len, found.pairs.values())) == 12
    assert (found.without_mask, found.without_image) == ((), ())


FOLDERS = [
    ("p{patient}/{kind}/{number}.png", "*/images/*.png", "*/masks/*.png"),
    ("all/p{patient}/{number}{end}.png", "all/*/*.png", "all/*/*_mask.png"),
    ("{kind}/p{patient}/{number}.png", "images/*/*.png", "masks/*/*.png"),
    ("{split}/p{patient}/{kind}/{number}.png", "{split}/*/images/*.png", "{split}/*/masks/*.png"),
]


@pytest.mark.parametrize(("pattern", "images", "masks"), FOLDERS)
def test_folders_that_are_built_alike_are_read_together(
    here: Path, capsys: pytest.CaptureFixture[str], pattern: str, images: str, masks: str
) -> None:
    """Audit folders of patients: none of them is left out, and none is in two splits."""

    def name(split: str, kind: str, number: int) -> str:
        return in_files(pattern.replace("{patient}", str(number % 2 + {"train": 0, "val": 2, "test": 4}[split])))(split, kind, number)

    write_shapes(here / "data", each=6, name=name)
    found = guess(here / "data")
    assert (found.images, found.masks, found.others) == (images, masks, ())
    assert sum(map(len, found.pairs.values())) == 18
    code, out, err = audit(capsys, "data")
    assert code != 2, err
    words = shlex.split(out.splitlines()[-1])
    flags = dict(zip(words[4::2], words[5::2], strict=True))
    given: dict[str, Any] = {name: flags.get(f"--data.source.{name}") for name in ("images", "masks", "group")}
    rule = RandomSplit() if "--data.source.splits" in flags else None
    source = ImageMaskFolder(here / "data", 3, splits=rule, **given)
    place = [*Path(pattern).parts].index(next(part for part in Path(pattern).parts if "patient" in part))
    patients = [{Path(sample.name).parts[place] for sample in source.split(split)} for split in SPLITS]  # type: ignore[attr-defined]
    assert [len(patients[0] | patients[1] | patients[2]), sum(map(len, patients))] == [6, 6]


def test_files_that_are_left_out_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_shapes(here / "data", each=4, name=in_files("{kind}/{number}.png"))
    shutil.copytree(root / "masks", root / "instances", ignore=lambda _, names: names[:3])
    assert guess(root).others == ("instances/*.png (9)",)
    code, out, _ = audit(capsys, "data")
    assert code == 1
    assert "files that are left out" in out


@pytest.mark.parametrize("more", [(), ("labelTrainIds",)])
def test_the_photographs_of_cityscapes_are_its_images(tmp_path: Path, more: tuple[str, ...]) -> None:
    """Colours, instances and labels lie side by side, in folders of cities."""

    def name(split: str, kind: str, number: int) -> str:
        city = f"{split}_{'ab'[number % 2]}"
        folder, end = {"images": ("leftImg8bit", ""), "masks": ("gtFine", "_labelIds")}[kind]
        return f"{folder}/{split}/{city}/{city}_{number:06d}_000019_{folder}{end}.png"

    root = write_shapes(tmp_path / "data", each=6, name=name)
    for file in sorted(root.rglob("*_labelIds.png")):
        mask = np.array(Image.open(file))
        others = {"color": Image.fromarray(colours(mask)), "instanceIds": Image.fromarray(mask.astype(np.uint16) * 1000)}
        for end, image in {**others, **dict.fromkeys(more, Image.fromarray(mask))}.items():
            image.save(file.with_name(file.name.replace("labelIds", end)))
    found = guess(root)
    assert (found.images, found.masks) == ("leftImg8bit/{split}/*/*_leftImg8bit.png", "gtFine/{split}/*/*_gtFine_labelIds.png")
    assert {split: len(pairs) for split, pairs in found.pairs.items()} == {"train": 6, "val": 6, "test": 6}
    for pair in [pair for pairs in found.pairs.values() for pair in pairs]:
        assert pair.image.name.replace("leftImg8bit", "gtFine_labelIds") == pair.mask.name


def test_ground_truth_is_no_image_beside_photographs(tmp_path: Path) -> None:
    """Photographs under other names are named, and colours are not taken for them."""
    root = write_shapes(
        tmp_path / "data",
        each=4,
        name=lambda split, kind, number: f"photos/{split}{number}.png" if kind == "images" else usual(split, "gt", number),
    )
    for file in sorted(root.rglob("gt/*.png")):
        (file.parents[1] / "gt_noisy").mkdir(exist_ok=True)
        noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file.parents[1] / "gt_noisy" / file.name)
    with pytest.raises(ValueError, match=r"no images and masks with common names; there are .*photos/\*.png \(12\)"):
        guess(root)


CASES = [
    ("case{case}/{file}", ("image.png", "mask.png"), "*/image.png", "*/mask.png"),
    ("case{case}/{file}", ("scan.bmp", "a.png"), "*/scan.bmp", "*/a.png"),
    ("{split}/{case}/{file}", ("image.png", "mask.png"), "{split}/*/image.png", "{split}/*/mask.png"),
    ("site{site}/{case}/{file}", ("image.png", "mask.png"), "*/*/image.png", "*/*/mask.png"),
]


@pytest.mark.parametrize("black", [False, True])
@pytest.mark.parametrize(("pattern", "names", "images", "masks"), CASES)
def test_folders_of_one_sample_each_are_found(
    here: Path, capsys: pytest.CaptureFixture[str], pattern: str, names: tuple[str, str], images: str, masks: str, black: bool
) -> None:
    """Also if one of the images is black, and has few values as masks have."""

    def name(split: str, kind: str, number: int) -> str:
        case = number + 6 * SPLITS.index(split)
        return pattern.format(split=split, case=case, site=case // 9, file=names[kind == "masks"])

    root = write_shapes(here / "data", each=6, name=name)
    if black:
        Image.new("RGB", (48, 48)).save(root / name("train", "images", 0))
    found = guess(root)
    assert (found.images, found.masks, found.others) == (images, masks, ())
    assert found.folders == (2 if "site" in pattern else 0)
    pairs = [pair for pairs in found.pairs.values() for pair in pairs]
    assert len({pair.image for pair in pairs}) == 18
    assert {(pair.image.parent, pair.image.name, pair.mask.name) for pair in pairs} == {(pair.mask.parent, *names) for pair in pairs}
    if not black:
        code, out, err = audit(capsys, "data")
        assert code == 0, out + err
        assert audit(capsys, shlex.join(shlex.split(out.splitlines()[-1])[8:]))[0] == 0


@pytest.mark.parametrize("folder", ["it's [img]", "what?", "{a}", "a*b", "~me"])
def test_names_that_no_pattern_holds_are_refused(here: Path, capsys: pytest.CaptureFixture[str], folder: str) -> None:
    write_shapes(here / "data", each=4, name=lambda split, kind, number: f"{folder if kind == 'images' else 'masks'}/{split}{number}.png")
    code, out, err = audit(capsys, "data")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: data: {folder!r} cannot be written in a pattern of paths")
    assert err.endswith("rename these folders or files\n")


def test_names_of_files_may_have_signs_of_patterns(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The `*` of a pattern stands for them."""
    write_shapes(here / "data", name=lambda split, kind, number: f"{kind}/[{split}] {{{number}}}?.png")
    code, out, err = audit(capsys, "data")
    assert code == 0, out + err
    assert audit(capsys, shlex.join(shlex.split(out.splitlines()[-1])[8:]))[0] == 0


def test_two_folders_of_one_split_are_named(tmp_path: Path) -> None:
    root = write_shapes(tmp_path / "data", each=4, name=in_files("{kind}/{split}/{number}.png"))
    for kind in ("images", "masks"):
        shutil.copytree(root / kind / "val", root / kind / "valid")
    with pytest.raises(ValueError, match="images/val and images/valid both mean val: expected one folder for each split"):
        guess(root)


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    root = write_shapes(tmp_path / "data", each=4, name=in_files("{kind}/{split}/{number}.png"))
    (tmp_path / "linked").mkdir()
    for kind in ("images", "masks"):
        (tmp_path / "linked" / kind).symlink_to(root / kind)
    assert sum(map(len, guess(tmp_path / "linked").pairs.values())) == 12


def test_images_and_masks_are_told_apart_by_what_they_hold(tmp_path: Path) -> None:
    """Whatever the folders are called."""
    root = write_shapes(
        tmp_path / "data", each=4, name=lambda split, kind, number: f"{'a' if kind == 'masks' else 'b'}/{split}{number}.png"
    )
    found = guess(root)
    assert (found.images, found.masks) == ("b/*.png", "a/*.png")


def test_partners_that_lack_are_named(tmp_path: Path) -> None:
    root = write_shapes(tmp_path / "data", each=4)
    (root / "val" / "masks" / "002.png").unlink()
    (root / "test" / "images" / "001.png").unlink()
    found = guess(root)
    assert (found.without_mask, found.without_image) == ((root / "val/images/002.png",), (root / "test/masks/001.png",))


def same(mask: Pixels) -> Pixels:
    return mask


def black_and_white(mask: Pixels) -> Pixels:
    return np.where(mask > 0, 255, 0).astype(np.uint8)


def one_and_255(mask: Pixels) -> Pixels:
    return np.where(mask > 0, 255, 1).astype(np.uint8)


def from_one(mask: Pixels) -> Pixels:
    return mask + np.uint8(1)


def colours(mask: Pixels) -> Pixels:
    return default_palette(3)[mask]


GUESSES: list[tuple[str, Callable[[Pixels], Pixels], int, str, set[str]]] = [
    ("{split}/{kind}/{number}.png", same, 0, "--data.source.num_classes 3", set()),
    ("{split}/{kind}/{number}.png", black_and_white, 1, '--data.source.num_classes 2 --data.source.labels "{0: 0, 255: 1}"', {"labels"}),
    ("{split}/{kind}/{number}.png", from_one, 1, '--data.source.num_classes 3 --data.source.labels "{1: 0, 2: 1, 3: 2}"', {"labels"}),
    ("{split}/{kind}/{number}.png", one_and_255, 1, '--data.source.num_classes 2 --data.source.labels "{1: 0, 255: 1}"', {"labels"}),
    ("{split}/{kind}/{number}.png", colours, 1, "--data.source.classes CSV", {"classes"}),
    (
        "{kind}/{split}/{number}.png",
        same,
        0,
        '--data.source.images "images/{split}/*.png" --data.source.masks "masks/{split}/*.png" --data.source.num_classes 3',
        {"images", "masks"},
    ),
    (
        "{number}{end}.png",
        same,
        0,
        '--data.source.images "*.png" --data.source.masks "*_mask.png" --data.source.splits RandomSplit --data.source.num_classes 3',
        {"images", "splits"},
    ),
]


@pytest.mark.parametrize(("pattern", "mask", "code", "flags", "fields"), GUESSES)
def test_the_command_that_is_printed_reads_the_folder(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    pattern: str,
    mask: Callable[[Pixels], Pixels],
    code: int,
    flags: str,
    fields: set[str],
) -> None:
    write_shapes(here / "data", mask=mask, name=in_files(pattern))
    found, out, err = audit(capsys, "data")
    assert (found, err) == (code, "")
    command = shlex.split(out.splitlines()[-1])
    assert command[:6] == ["seglab", "fit", "--model.network", "seglab.network", "--model.network.encoder", "resnet18"]
    read = ["--data.source", "ImageMaskFolder", "--data.source.root", "data"]
    classes = "2" if mask in (black_and_white, one_and_255) else "3"
    assert command[6:12] == ["--model.network.num_classes", classes, *read]
    assert command[12:] == [*shlex.split(flags.replace("CSV", str(here / "audit-classes.csv"))), "--data.size", "[32,32]"]
    assert sorted(file.name for file in here.iterdir()) == ["audit.html", "data"] or (here / "audit-classes.csv").exists()
    if fields <= FIELDS.keys():
        code, out, err = audit(capsys, shlex.join(command[8:]))
        assert code == 0, out + err


def test_a_table_of_colours_is_written_once_and_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By now it may have the names of the classes."""
    write_shapes(here / "data", each=4, mask=colours)
    assert audit(capsys, "data")[0] == 1
    rows = (here / "audit-classes.csv").read_text().splitlines()
    assert rows[0] == "class,r,g,b"
    assert sorted(row.partition(",")[2] for row in rows[1:]) == ["0,0,0", "0,128,0", "128,0,0"]
    mine = "class,r,g,b\nroad,0,0,0\ncar,0,128,0\ntree,128,0,0\n"
    (here / "audit-classes.csv").write_text(mine)
    assert audit(capsys, "data")[0] == 1
    assert (here / "audit-classes.csv").read_text() == mine
    (here / "audit-classes.csv").write_text("class,r,g,b\nroad,0,0,0\ncar,0,128,0\n")
    code, out, _ = audit(capsys, "data")
    assert code == 2
    assert "(128, 0, 0)" in out


def nothing(mask: Pixels) -> Pixels:
    return np.zeros_like(mask)


def tens(mask: Pixels) -> Pixels:
    return mask * np.uint8(10)


@pytest.mark.parametrize(
    ("pattern", "each", "mask", "expected", "words"),
    [
        ("{kind}/{number}.png", 4, nothing, 2, "labels that cannot train or test"),
        ("{split}/{kind}/{number}.png", 4, nothing, 2, "labels that cannot train or test"),
        ("{kind}/one{split}.png", 1, same, 2, "2 samples are too few for train, val and test"),
        ("{kind}/{number}.png", 6, tens, 1, "classes without a pixel"),
        ("{split}/{kind}/{number}.png", 6, tens, 1, "classes without a pixel"),
    ],
)
def test_a_folder_has_the_findings_of_the_flags_that_are_proposed(
    here: Path, capsys: pytest.CaptureFixture[str], pattern: str, each: int, mask: Callable[[Pixels], Pixels], expected: int, words: str
) -> None:
    root = write_shapes(here / "data", each=each, mask=mask, name=in_files(pattern))
    if each == 1:
        for file in root.rglob("onetest.png"):
            file.unlink()
    code, out, err = audit(capsys, "data")
    assert (code, err) == (expected, "")
    assert words in re.sub(r"\s+", " ", out)
    again, its_out, its_err = audit(capsys, shlex.join(shlex.split(out.splitlines()[-1])[8:]))
    assert again == expected
    assert words in re.sub(r"\s+", " ", its_out + its_err)


def test_copies_are_found_across_the_splits_that_are_proposed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page shows them, although the folder has no splits."""
    root = write_shapes(here / "data", each=4, name=in_files("{kind}/{number}.png"))
    for kind in ("images", "masks"):
        for copy in range(12):
            shutil.copy(root / kind / "001.png", root / kind / f"copy{copy}.png")
    code, out, err = audit(capsys, "data")
    assert (code, err) == (2, "")
    assert "equal images in several splits" in out
    assert "equal images in one split" not in out
    assert (here / "audit.html").read_text().count("data:image/jpeg;base64,") >= 2


def test_without_a_table_there_is_no_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Masks of hundreds of colours are no masks of classes."""
    gradient = np.dstack([np.indices((48, 48))[0], np.indices((48, 48))[1], np.zeros((48, 48))]).astype(np.uint8)
    write_shapes(here / "data", each=2, mask=lambda mask: gradient)
    code, out, err = audit(capsys, "data")
    assert (code, err) == (2, "")
    assert "images and masks are swapped" not in out
    assert "seglab fit" not in out
    assert sorted(file.name for file in here.iterdir()) == ["audit.html", "data"]


REFUSED = [
    ("", "name a folder, as in seglab audit D, or a data set by its flags"),
    ("data --data.source Shapes", "not both"),
    ("nothere", "nothere: no such folder: correct the path"),
    ("empty", "empty: no images in it or below it"),
    ("images", r"images: only files of one kind are in it, \*.png \(3\); expected images, and a mask of the same name for each"),
    ("data --output page.txt", "--output: page.txt is no .html file in an existing folder"),
    ("data --output no/page.html", "--output: no/page.html is no .html file in an existing folder"),
    ("data images", "one folder at a time: data, images"),
    ("data --outputs page.html", "there is no flag --outputs .did you mean --output"),
    ("--data.source Shappes", "there is no class 'Shappes' .did you mean seglab.Shapes"),
    (
        "--data.source ImageMaskFolder --data.source.root nothere --data.source.num_classes 2",
        "no such folder.*`seglab audit D` with the folder",
    ),
]


@pytest.mark.parametrize(("line", "message"), REFUSED)
def test_what_cannot_be_audited_is_one_line(here: Path, capsys: pytest.CaptureFixture[str], line: str, message: str) -> None:
    write_shapes(here / "data", each=1)
    shutil.copytree(here / "data" / "train" / "images", here / "images")
    for number in (1, 2):
        shutil.copy(here / "images" / "000.png", here / "images" / f"00{number}.png")
    (here / "empty").mkdir()
    before = sorted(here.rglob("*"))
    code, out, err = audit(capsys, line)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert re.search(message, err), err
    assert sorted(here.rglob("*")) == before


def test_the_page_is_whole_and_escapes_what_files_are_called(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shapes(here / "<b>data", each=4)
    for kind in ("images", "masks"):
        shutil.copy(here / "<b>data" / "train" / kind / "001.png", here / "<b>data" / "val" / kind / "<script>alert(1)<&.png")
    code, out, err = audit(capsys, "'<b>data' --output page.html")
    assert (code, err) == (2, "")
    page = (here / "page.html").read_text()
    assert "<script" not in page
    assert "<b>data" not in page
    assert "&lt;script&gt;alert(1)&lt;&amp;.png" in page
    assert page.count("data:image/jpeg;base64,") == 4
    assert not re.search(r"(src|href)=\"(?!data:)", page), "nothing is loaded from elsewhere"
    assert "equal images in several splits" in page
    assert "pictures in page.html" in out


def test_a_source_is_audited_by_its_flags(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "--data.source Shapes --data.source.num_train 4 --data.source.num_val 3 --data.source.num_test 3 --data.source.image_size 16"
    code, out, err = audit(capsys, line)
    assert (code, err) == (1, ""), out
    assert "classes without a pixel" in out
    assert "10 samples" in out
    assert (here / "audit.html").is_file()


def test_only_used_samples_are_looked_at(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shapes(here / "data")
    (here / "data" / "train" / "images" / "000.png").write_text("broken, but not used")
    line = "--data.source ImageMaskFolder --data.source.root data --data.source.num_classes 3 --data.batch_size 2"
    assert audit(capsys, line)[0] == 2
    code, out, _ = audit(capsys, f"{line} --data.train_fraction 0.2")
    assert code == 0
    assert "31 samples" in out


def test_help_fits_on_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = audit(capsys, "--help")
    assert (code, err) == (0, "")
    assert out.count("\n") <= 60
    assert max(map(len, out.splitlines())) <= 120


def test_a_page_that_cannot_be_written_is_named_and_the_one_before_is_kept(
    here: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shapes(here / "data", each=2)
    (small_disk / "page.html").write_text("before")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, _, err = audit(capsys, f"data --output {small_disk / 'page.html'}")
    assert code == 2
    assert "page.html" in err
    assert err.count("\n") == 1
    assert (small_disk / "page.html").read_text() == "before"


def test_the_flags_of_camvid_name_camvid(tmp_path: Path) -> None:
    """By the names of its drives, and its twelve labels."""

    def name(split: str, kind: str, number: int) -> str:
        return usual(split, kind, number).replace(f"{number:03d}", f"0001TP_{number:06d}")

    root = write_shapes(tmp_path / "camvid", each=4, name=name, mask=lambda mask: np.where(mask == 2, 11, mask).astype(np.uint8))
    bare = Bare.of(root)
    from seglab.data.audit.audit import audit as look_for_mistakes

    looks = look_for_mistakes(bare.audited).survey.looks
    assert bare.flags(looks, None) == ["--data.source", "CamVid", "--data.source.root", str(root)]


@pytest.mark.skipif(not {"images", "masks", "splits"} <= FIELDS.keys(), reason="ImageMaskFolder reads one layout alone")
def test_splits_that_lack_are_divided_by_a_rule(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shapes(here / "data")
    shutil.rmtree(here / "data" / "val")
    code, out, _ = audit(capsys, "data")
    assert code == 1
    assert "there is no folder of val" in out
    command = shlex.split(out.splitlines()[-1])
    assert "--data.source.splits.test_fraction" in command
    code, out, err = audit(capsys, shlex.join(command[8:]))
    assert code == 0, out + err
