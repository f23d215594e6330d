"""Tables of classes and of colours: what is read, what is refused, and that their content is part of the identity."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn_arrays
from PIL import Image

from seglab.data import ImageMaskFolder, KFold, SegmentationDataModule
from seglab.data.sources.classes import class_table
from seglab.data.sources.labels import classes_of_colours, mapped
from tests.data.layouts import TABLE, binary_mask, colour_mask, index_mask, numbers_of, palette_mask, write

RULE = KFold(0, 4)


def table(folder: Path, text: str, name: str = "classes.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


SPELLINGS = {
    "Kaggle": "name,r,g,b\na,0,0,0\nb,255,0,0\n",
    "upper case": "Class,R,G,B\na,0,0,0\nb,255,0,0\n",
    "words": "class_name,Red,Green,Blue\na,0,0,0\nb,255,0,0\n",
    "spaces": "name, r, g, b\na, 0, 0, 0\nb, 255, 0, 0\n",
    "semicolons": "r;g;b;class\n0;0;0;a\n255;0;0;b\n",
    "empty lines": "\nname,r,g,b\n\na,0,0,0\n,,,\nb,255,0,0\n\n",
    "byte order mark": "\ufeffname,r,g,b\na,0,0,0\nb,255,0,0\n",
    "Windows": "name,r,g,b\r\na,0,0,0\r\nb,255,0,0\r\n",
    "quotes": '"name","r","g","b"\n"a",0,0,0\n"b",255,0,0\n',
    "label is a name": "label,r,g,b\na,0,0,0\nb,255,0,0\n",
    "further columns": "name,supercategory,r,g,b\na,x,0,0,0\nb,y,255,0,0\n",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_of_a_table_of_colours(tmp_path: Path, spelling: str) -> None:
    found = class_table(table(tmp_path, SPELLINGS[spelling]), None)
    assert found.names == ("a", "b")
    assert found.colours == {(0, 0, 0): 0, (255, 0, 0): 1}
    assert found.palette == ((0, 0, 0), (255, 0, 0))
    assert found.labels is None


LABELLED = {
    "names": ("names.txt", "a\nb\n\nc d\n", {0: 0, 1: 1, 2: 2}),
    "merged names": ("names.txt", "a\nb\na\nc d\n", {0: 0, 1: 1, 2: 0, 3: 2}),
    "csv of names": ("names.csv", "class\na\nb\nc d\n", {0: 0, 1: 1, 2: 2}),
    "ids": ("names.csv", "id,name\n7,a\n8,b\n26,c d\n-1,b\n", {7: 0, 8: 1, 26: 2, -1: 1}),
    "label and class": ("names.csv", "class,label\na,3\nb,4\nc d,5\n", {3: 0, 4: 1, 5: 2}),
    "class is a number, label a name": ("names.csv", "class,label\n3,a\n4,b\n5,c d\n", {3: 0, 4: 1, 5: 2}),
    "class is a number": ("names.csv", "class,name\n3,a\n4,b\n5,c d\n", {3: 0, 4: 1, 5: 2}),
    "tab": ("names.tsv", "index\tname\n1\ta\n2\tb\n3\tc d\n", {1: 0, 2: 1, 3: 2}),
}


@pytest.mark.parametrize("kind", LABELLED)
def test_tables_of_labels(tmp_path: Path, kind: str) -> None:
    name, text, labels = LABELLED[kind]
    found = class_table(table(tmp_path, text, name), None)
    assert (found.names, found.labels, found.colours) == (("a", "b", "c d"), labels, None)


WRONG: list[tuple[str, str]] = [
    ("", "has no classes|expected a header"),
    ("name,r,g,b\n", "has no classes; expected the name of a class in each line"),
    ("a,0,0,0\nb,1,1,1\n", r"its first line is 'a 0 0 0'; expected a header with the columns class, r, g, b"),
    ("name,r,g\na,0,0\n", r"its first line is 'name r g'; expected a header with the columns"),
    ("name,r,g,b\na,0,0\n", r"line 2: 'a,0,0' lacks a value; expected name,r,g,b"),
    ("name,r,g,b\n,0,0,0\n", r"line 2: ',0,0,0' lacks a value"),
    ("name,r,g,b\na,0,0,x\n", r"line 2: 'x' is no whole number; expected 0 to 255"),
    ("name,r,g,b\na,0,0,1.5\n", r"line 2: '1.5' is no whole number"),
    ("name,r,g,b\na,0,0,256\n", r"line 2: 'a,0,0,256' has a colour outside 0…255"),
    ("name,r,g,b\na,0,0,0\n\nb,0,0,0\n", r"line 4: \(0, 0, 0\) is 'b', and 'a' in line 2: correct one of them"),
    ("id,name\n1,a\n1,b\n", r"line 3: 1 is 'b', and 'a' in line 2"),
    ("id,name\n1,a\n,b\n", r"line 3: '' is no whole number; expected 0 to 255 for r, g and b, and the label for id"),
    ("value,name,r,g,b\n1.0,a,0,0,0\n2,b,1,1,1\n", r"line 2: '1.0' is no whole number"),
    ("name,grey\na,1\nb,0\n", r"its column 'grey' holds numbers: call it id if they are the labels of the masks, or remove it"),
    ("category,label\n1,a\n2,b\n", r"its column 'category' holds numbers: call it id if they are the labels of the masks"),
    ("name,r,g,b\nvoid,0,0,0\n", r"0 classes; expected 1 to 255"),
]


NO_NAMES: list[tuple[str, str]] = [
    ("0: a\n1: b\n", r"each line begins with a number, as in '0: a'; expected names alone"),
    ("2 c\n1 b\n0 a\n", r"each line begins with a number, as in '2 c'"),
    ("# classes\na\nb\n", r"line 1: '# classes' is a comment; .* remove it"),
    ("a\n// b\n", r"line 2: '// b' is a comment"),
]


@pytest.mark.parametrize(("text", "message"), NO_NAMES)
def test_text_that_is_no_list_of_names_is_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_table(table(tmp_path, text, "names.txt"), None)


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_wrong_tables_are_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        class_table(table(tmp_path, text), "void" if "void" in text else None)
    assert str(tmp_path / "classes.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"classes.csv: cannot be read as a table of classes \(No such file"):
        class_table(tmp_path / "classes.csv", None)
    (tmp_path / "classes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"classes.csv: cannot be read as a table of classes \('utf-8' codec"):
        class_table(tmp_path / "classes.csv", None)
    with pytest.raises(ValueError, match=r"void is 'Void', but .*classes.csv has no such class: expected one of back, cell, void"):
        class_table(table(tmp_path, TABLE), "Void")


COLOURS = st.dictionaries(st.tuples(*[st.integers(0, 255)] * 3), st.sampled_from([0, 1, 2, 255]), min_size=1, max_size=20)


@given(COLOURS, st.data())
def test_classes_of_colours_are_those_of_the_table(classes: dict[tuple[int, int, int], int], data: st.DataObject) -> None:
    colours = list(classes)
    chosen = data.draw(drawn_arrays.arrays(np.int64, (3, 5), elements=st.integers(0, len(colours) - 1)))
    mask = np.array(colours, np.uint8)[chosen]
    expected = [[classes[colours[index]] for index in row] for row in chosen]
    assert classes_of_colours(mask, classes, "abc", Path("a.png")).tolist() == expected
    other = data.draw(st.tuples(*[st.integers(0, 255)] * 3).filter(lambda colour: colour not in classes))
    mask[1, 1:3] = other
    near = min(np.linalg.norm(np.array(colour) - other) for colour in colours)
    with pytest.raises(ValueError, match=r"a.png: the colour .* of 2 pixels is not in the table of classes; nearest is") as caught:
        classes_of_colours(mask, classes, "abc", Path("a.png"))
    assert f"the colour {other} of 2" in str(caught.value)
    named = re.search(r"nearest is \((\d+), (\d+), (\d+)\)", str(caught.value))
    assert named is not None
    assert np.linalg.norm(np.array([int(part) for part in named.groups()]) - other) == near


@given(
    st.dictionaries(st.integers(-3, 300), st.sampled_from([0, 1, 2, 255]), min_size=1, max_size=20),
    st.sampled_from([np.uint8, np.uint16, np.int16, np.uint32, np.int64]),
    st.one_of(st.none(), st.integers(-1, 300)),
    st.data(),
)
def test_a_table_of_labels_is_looked_up_in_masks_of_every_type(
    table: dict[int, int], dtype: type[np.integer[Any]], void: int | None, data: st.DataObject
) -> None:
    held = [label for label in table if np.iinfo(dtype).min <= label <= np.iinfo(dtype).max] or [0]
    mask = np.array(data.draw(st.lists(st.sampled_from([*held, held[0], 255]), min_size=6, max_size=6)), dtype).reshape(2, 3)
    expected = [[table.get(label, 255 if label in (255, void) else None) for label in row] for row in mask.tolist()]
    if any(label is None for row in expected for label in row):
        with pytest.raises(ValueError, match=r"a.png: label \d+ is not in the table of labels"):
            mapped(mask, void, table, Path("a.png"))
    else:
        found = mapped(mask, void, table, Path("a.png"))
        assert found.dtype == np.uint8
        assert found.tolist() == expected


def source(root: Path, **more: Any) -> ImageMaskFolder:
    return ImageMaskFolder(root, **{"classes": Path("classes.csv"), "void": "void", "splits": RULE, **more})


def test_classes_their_names_and_colours_come_from_the_table(tmp_path: Path) -> None:
    found = source(write(tmp_path, "images/{key}.jpg", "masks/{key}.png", colour_mask))
    assert (found.num_classes, found.class_names) == (2, ("back", "cell"))
    assert found.palette.tolist() == [[0, 0, 0], [255, 0, 0]]
    assert found.palette.dtype == np.uint8
    with_void = source(tmp_path, void=None)
    assert with_void.class_names == ("back", "cell", "void")
    assert int(with_void.split("train")[0].mask[3, 7]) == 2


def rgba(file: Path) -> None:
    Image.open(file).convert("RGBA").save(file)


def in_a_palette(file: Path) -> None:
    Image.open(file).quantize(8, dither=Image.Dither.NONE).save(file)


def of_16_bits(file: Path) -> None:
    tifffile.imwrite(file.with_suffix(".tif"), np.array(Image.open(file)).astype(np.uint16) * 257, photometric="rgb")
    file.unlink()


def as_tiff(file: Path) -> None:
    Image.open(file).save(file.with_suffix(".tif"), compression="tiff_lzw")
    file.unlink()


def as_array(file: Path) -> None:
    np.save(file.with_suffix(".npy"), np.array(Image.open(file)))
    file.unlink()


def as_bmp(file: Path) -> None:
    Image.open(file).save(file.with_suffix(".bmp"))
    file.unlink()


@pytest.mark.parametrize("form", [rgba, in_a_palette, as_tiff, as_array, as_bmp])
def test_colours_are_read_from_every_lossless_format(tmp_path: Path, form: Callable[[Path], None]) -> None:
    root = write(tmp_path, "images/{key}.jpg", "masks/{key}.png", colour_mask)
    for file in (root / "masks").iterdir():
        form(file)
    data = SegmentationDataModule(source(root), batch_size=1)
    data.check()
    assert sorted(numbers_of(data.used("val")) + numbers_of(data.used("test")) + numbers_of(data.used("train"))) == list(range(12))


def one_colour_off(file: Path) -> None:
    mask = np.array(Image.open(file))
    mask[2, :3], mask[2, 4] = (254, 1, 0), (7, 7, 7)
    Image.fromarray(mask).save(file)


def of_16_bits_as_png(file: Path) -> None:
    """Write colours that are those of the table if their low bytes are cut."""
    colours = np.asarray(Image.open(file)).astype(np.uint16) * 256 + 7
    cv2.imwrite(str(file), colours[..., ::-1])


def as_jpeg(file: Path) -> None:
    Image.open(file).save(file, "JPEG")


def as_indices(file: Path) -> None:
    index_mask(0).save(file)


def as_tiff_of_jpeg(file: Path) -> None:
    Image.open(file).save(file, "TIFF", compression="jpeg")


BAD_COLOURS: list[tuple[Callable[[Path], None], str]] = [
    (
        one_colour_off,
        r"p0_00.png: the colour \(254, 1, 0\) of 3 pixels, the most frequent of 2 such colours, is not in the table of classes; "
        r"nearest is \(255, 0, 0\), of class 'cell': add the colour to the table, or correct the mask",
    ),
    (as_jpeg, "p0_00.png: a mask as JPEG; JPEG is lossy"),
    (as_tiff_of_jpeg, "p0_00.png: a mask compressed by JPEG, which can change labels"),
    (as_indices, r"p0_00.png: the colour \(1, 1, 1\) of 23 pixels is not in .*, or give the table a column id if the mask holds labels"),
    (of_16_bits_as_png, r"p0_00.png: a mask of 3 channels of uint16; expected colours of 8 bits \(RGB\): convert it"),
    (of_16_bits, r"p0_00.tif: a mask of 3 channels of uint16; expected colours of 8 bits \(RGB\): convert it"),
]


@pytest.mark.parametrize(("damage", "message"), BAD_COLOURS)
def test_wrong_colours_are_refused(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    root = write(tmp_path, "images/{key}.jpg", "masks/{key}.png", colour_mask)
    damage(root / "masks" / "p0_00.png")
    with pytest.raises(ValueError, match=message) as caught:
        SegmentationDataModule(source(root), batch_size=1).check()
    assert "\n" not in str(caught.value.args[0])


def test_a_table_with_labels_and_colours_reads_both_kinds_of_masks(tmp_path: Path) -> None:
    """An index or a grey value is a label there; three channels are a colour.

    The indices of a palette are labels too.
    """
    text = "id,class,r,g,b\n0,back,0,0,0\n1,cell,255,0,0\n255,void,255,255,255\n5,cell,250,0,0\n"
    for number, drawn in enumerate((index_mask, colour_mask)):
        root = write(tmp_path / str(number), "images/{key}.jpg", "masks/{key}.png", drawn)
        table(root, text)
        data = SegmentationDataModule(source(root), batch_size=1)
        data.check()
        assert len(numbers_of(data.used("train"))) == 6
    palette = write(tmp_path / "palette", "images/{key}.jpg", "masks/{key}.png", palette_mask)
    table(palette, text)
    with pytest.raises(ValueError, match=r"label \d is not in the table of labels, which has 0, 1, 5, 255"):
        SegmentationDataModule(source(palette), batch_size=1).check()


def test_the_content_of_a_table_is_part_of_the_identity(tmp_path: Path) -> None:
    """Not its place, and not how it is written."""
    root = write(tmp_path / "data", "images/{key}.jpg", "masks/{key}.png", colour_mask)

    def identity(path: str) -> Any:
        return SegmentationDataModule(source(root, classes=Path(path)), batch_size=1).identity()

    before = identity("classes.csv")
    elsewhere = table(tmp_path, TABLE.replace(",", ";"), "other.csv")
    assert identity(str(elsewhere))["splits"] == before["splits"]
    for changed in (TABLE.replace("cell,250,0,0", "back,250,0,0"), TABLE + "back,9,9,9\n"):
        table(root, changed)
        assert identity("classes.csv")["splits"] != before["splits"]


def test_a_table_that_lies_elsewhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "D", "images/{key}.jpg", "masks/{key}.png", colour_mask)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"D/other.csv: no such file; classes is a path below root, or an absolute one: correct classes"):
        source(root, classes=Path("other.csv"))
    table(tmp_path, TABLE, "other.csv")
    with pytest.raises(ValueError, match=r"D/other.csv: no such file; .*, and .*/other.csv exists: correct classes"):
        source(root, classes=Path("other.csv"))


ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"void": 7.0}, r"void is 7\.0: expected a label, which is a whole number, or the name of a class"),
    ({"void": True}, "void is True: expected a label"),
    ({"num_classes": "2"}, "num_classes is '2': expected a whole number"),
    ({"num_classes": 2.0}, r"num_classes is 2\.0: expected a whole number"),
    ({"images": Path("a")}, "images is .*'a'.*: expected a pattern, which is text"),
    ({"masks": ["a"]}, r"masks is \['a'\]: expected a pattern, which is text"),
    ({"void": 7}, "void is 7, and the masks are in colours by classes.csv: name the class that is ignored"),
    ({"classes": None}, "void is 'void': expected a label; a class can be named where classes is given"),
    ({"num_classes": 3}, "2 class_names for num_classes=3: name every class, or none"),
    ({"class_names": ("a", "b")}, r"class_names \['a', 'b'\] are not those of classes.csv, \['back', 'cell'\]: give one of them"),
    ({"classes": None, "void": None}, "num_classes is missing: give it, or class_names, labels or classes, which tell it"),
    ({"classes": None, "void": None, "labels": {}}, "num_classes is missing"),
    (
        {"classes": None, "void": None, "labels": {0: 0, 1: 2}, "num_classes": 2},
        r"labels gives 1 the class 2: expected 0…1, or 255 for a label",
    ),
    ({"classes": "ids.csv", "void": None, "labels": {7: 1, 9: 0}}, "labels are given, and ids.csv has other ones in its column id"),
    ({"classes": None, "void": None, "labels": {0: 0, 1: -1}}, "labels gives 1 the class -1: expected 0…0"),
]


@pytest.mark.parametrize(("changed", "message"), ARGUMENTS, ids=str)
def test_arguments_that_contradict_each_other_are_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    root = write(tmp_path, "images/{key}.jpg", "masks/{key}.png", colour_mask)
    (root / "ids.csv").write_text("id,name\n7,back\n9,cell\n")
    with pytest.raises(ValueError, match=message):
        source(root, **changed)


def test_a_root_that_is_no_path_is_refused() -> None:
    with pytest.raises(ValueError, match="root is None: expected the folder of the data"):
        ImageMaskFolder(None, num_classes=2)  # type: ignore[arg-type]


def test_the_number_of_classes_follows_from_what_names_them(tmp_path: Path) -> None:
    root = write(tmp_path, "images/{key}.jpg", "masks/{key}.png", binary_mask)
    table(root, "ground\nplant\n", "names.txt")
    labels = {0: 0, 255: 1, 128: 255}
    assert ImageMaskFolder(root, splits=RULE, labels=labels).num_classes == 2
    assert ImageMaskFolder(root, class_names=("a", "b"), splits=RULE, labels=labels).num_classes == 2
    named = ImageMaskFolder(root, splits=RULE, labels=labels, classes=Path("names.txt"))
    assert (named.num_classes, named.class_names) == (2, ("ground", "plant"))
    SegmentationDataModule(named, batch_size=1).check()
