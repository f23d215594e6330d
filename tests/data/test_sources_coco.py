"""COCO's instances as semantic masks, against outlines that are drawn by hand."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seglab.data import COCO, SPLITS, SegmentationDataModule
from tests.data.published import SIZE, annotation, box, coco

PERSON, DOG, TOOTHBRUSH = 1, 18, 90


def drawn(root: Path, objects: list[dict[str, Any]]) -> list[list[int]]:
    """The mask of the image with the objects, which is the second by name."""
    source = COCO(coco(root, objects))
    mask: list[list[int]] = source.split("train")[1].mask.tolist()
    return mask


def by_hand(*boxes: tuple[int, int, int, int, int]) -> list[list[int]]:
    """A mask onto which rectangles (label, x, y, columns, rows) are painted in turn."""
    mask = np.zeros(SIZE, np.uint8)
    for label, x, y, columns, rows in boxes:
        mask[y : y + rows, x : x + columns] = label
    found: list[list[int]] = mask.tolist()
    return found


def run_lengths(x: int, y: int, columns: int, rows: int) -> dict[str, Any]:
    """The run lengths of a rectangle, down the columns, beginning with zeros."""
    flat = np.zeros(SIZE, np.uint8)
    flat[y : y + rows, x : x + columns] = 1
    counts, value = [0], 0
    for pixel in flat.flatten(order="F").tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {"size": list(SIZE), "counts": counts}


def compressed(*rectangle: int) -> dict[str, Any]:
    from pycocotools import mask

    coded = mask.frPyObjects(run_lengths(*rectangle), *SIZE)
    return {"size": list(SIZE), "counts": coded["counts"].decode()}


@pytest.mark.parametrize("outline", [box(2, 1, 3, 2), run_lengths(2, 1, 3, 2), compressed(2, 1, 3, 2)], ids=["polygon", "counts", "text"])
def test_an_outline_of_any_form_covers_its_pixels(tmp_path: Path, outline: Any) -> None:
    assert drawn(tmp_path, [annotation(1, 2, DOG, outline)]) == by_hand((2, 2, 1, 3, 2))


def test_several_polygons_are_one_object(tmp_path: Path) -> None:
    assert drawn(tmp_path, [annotation(1, 2, PERSON, [*box(0, 0, 2, 2), *box(5, 3, 2, 3)])]) == by_hand((1, 0, 0, 2, 2), (1, 5, 3, 2, 3))


@pytest.mark.parametrize("small_first", [True, False])
def test_the_smaller_object_is_on_top_whatever_the_order(tmp_path: Path, small_first: bool) -> None:
    objects = [annotation(1, 2, PERSON, box(0, 0, 6, 5)), annotation(2, 2, TOOTHBRUSH, box(1, 1, 2, 2))]
    assert drawn(tmp_path, objects[:: -1 if small_first else 1]) == by_hand((1, 0, 0, 6, 5), (3, 1, 1, 2, 2))


def test_of_two_objects_of_one_size_the_later_is_on_top(tmp_path: Path) -> None:
    objects = [annotation(1, 2, PERSON, box(0, 0, 3, 3)), annotation(2, 2, DOG, box(1, 1, 3, 3))]
    assert drawn(tmp_path, objects) == by_hand((1, 0, 0, 3, 3), (2, 1, 1, 3, 3))


def test_a_crowd_is_ignored_where_no_object_covers_it(tmp_path: Path) -> None:
    objects = [annotation(1, 2, PERSON, box(0, 0, 5, 5)), annotation(2, 2, PERSON, run_lengths(4, 3, 2, 2), iscrowd=1)]
    assert drawn(tmp_path, objects) == by_hand((255, 4, 3, 2, 2), (1, 0, 0, 5, 5))


def test_classes_are_the_background_and_the_categories_by_their_ids(tmp_path: Path) -> None:
    source = COCO(coco(tmp_path, []))
    assert source.class_names == ("background", "person", "dog", "toothbrush")
    assert [len(source.split(split)) for split in SPLITS] == [19, 1, 20]
    assert source.split("val")[0].name == "train2017/000000000020.jpg"
    assert source.split("train")[0].image.shape == (3, *SIZE), "the first image is grey"
    assert not source.split("train")[0].mask.any(), "an image without objects is background"


def test_data_of_ones_own_have_three_files(tmp_path: Path) -> None:
    source = COCO(coco(tmp_path, [annotation(1, 2, DOG, box(0, 0, 2, 2))], year="", splits=("train", "val", "test"), count=3), year="")
    assert [len(source.split(split)) for split in SPLITS] == [3, 3, 3]
    assert source.split("test")[1].name == "test/000000000202.jpg"
    assert SegmentationDataModule(source, batch_size=1).check().images is not None


@pytest.mark.parametrize("changed", ["label", "outline", "crowd", "size of the image"])
def test_a_change_of_an_object_or_an_image_changes_the_fingerprint(tmp_path: Path, changed: str) -> None:
    def fingerprints(root: Path, found: dict[str, Any]) -> tuple[str, str]:
        source = COCO(coco(root, [found]))
        if changed == "size of the image" and root.name == "b":
            with (root / "train2017" / "000000000002.jpg").open("ab") as stream:
                stream.write(b"\0")
        dataset: Any = source.split("train")
        return dataset.fingerprint(), dataset.fingerprint_of([0, 2])

    before = annotation(1, 2, DOG, box(0, 0, 2, 2))
    after = {
        "label": annotation(1, 2, PERSON, box(0, 0, 2, 2)),
        "outline": annotation(1, 2, DOG, box(0, 0, 2, 3)),
        "crowd": annotation(1, 2, DOG, box(0, 0, 2, 2), iscrowd=1),
        "size of the image": before,
    }[changed]
    one, other = fingerprints(tmp_path / "a", before), fingerprints(tmp_path / "b", after)
    assert one[0] != other[0]
    assert one[1] == other[1], "the other images are the same"


DAMAGED = {
    "a box": [[0.0, 0.0, 2.0, 2.0]],
    "an odd number": [[0.0, 0.0, 2.0, 2.0, 3.0, 3.0, 1.0]],
    "nothing": [],
    "text": [["x"]],
    "another size": {"size": [5, 5], "counts": [25]},
    "too few": {"size": list(SIZE), "counts": [3, 4]},
    "negative": {"size": list(SIZE), "counts": [-4, 52]},
    "bad text": {"size": list(SIZE), "counts": "zz~~~~~"},
}


@pytest.mark.parametrize("outline", DAMAGED)
def test_a_damaged_outline_is_named_with_its_image(tmp_path: Path, outline: str) -> None:
    source = COCO(coco(tmp_path, [annotation(1, 2, DOG, DAMAGED[outline])]))
    with pytest.raises(
        ValueError, match=r"instances_train2017.json: 000000000002.jpg: an outline is damaged \(.*\): correct or remove"
    ) as raised:
        source.split("train")[1]
    assert "\n" not in str(raised.value)


WRONG: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "cannot be read as COCO's instance annotations"),
    "a list": ([], "cannot be read as COCO's instance annotations"),
    "no segmentation": (
        {"annotations": [{"image_id": 2, "category_id": 1}]},
        r"required field `segmentation` - at `\$.annotations\[0\]`",
    ),
    "an unknown image": ({"annotations": [annotation(1, 99, 1, box(0, 0, 2, 2))]}, "annotation 0 belongs to the image 99, which"),
    "an unknown category": ({"annotations": [annotation(1, 2, 7, box(0, 0, 2, 2))]}, "annotation 0 belongs to the category 7, which"),
    "no categories": ({"categories": []}, "0 categories"),
    "an id twice": ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "2 categories with 1 different ids"),
    "an image twice": ({"images": [{"id": 1, "file_name": "a.jpg", "height": 2, "width": 2}] * 2}, "2 images with 1 different ids"),
    "other categories": (
        {"categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "cat"}, {"id": 90, "name": "a"}]},
        "other categories",
    ),
    "a missing image": (
        {"images": [{"id": 2, "file_name": "a.jpg", "height": 2, "width": 2}], "annotations": []},
        r"train2017/a.jpg: no such file; expected annotations",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, what: str) -> None:
    part, message = WRONG[what]
    file = coco(tmp_path, []) / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    file.write_text(part if isinstance(part, str) else json.dumps({**content, **part} if isinstance(part, dict) else part))
    with pytest.raises(ValueError, match=message) as raised:
        COCO(tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_without_pycocotools_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)  # as Python itself marks a module that cannot be imported
    with pytest.raises(ImportError, match=r"pycocotools, which is not installed: pip install 'seglab\[coco\]'"):
        COCO(coco(tmp_path, []))
