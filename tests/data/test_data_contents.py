"""All splits' labels together: unusable labels are refused, and classes that a split lacks are named.

Labels are unusable if they cannot train a network.
"""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seglab import cli
from seglab.data import ImageMaskFolder, SegmentationDataModule
from seglab.data.check import CheckedData


def checked(root: Path, labels: dict[str, list[int]], num_classes: int) -> CheckedData:
    """Write two images a split, whose masks hold the labels of the split, and check them."""
    shutil.rmtree(root, ignore_errors=True)
    for split, values in labels.items():
        for number in range(2):
            for kind, pixels in (("images", np.zeros((4, 6, 3))), ("masks", np.resize(values, (4, 6)))):
                file = root / split / kind / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(file)
    return SegmentationDataModule(ImageMaskFolder(root, num_classes=num_classes), batch_size=1).check()


def of(*values: int) -> dict[str, list[int]]:
    """Return the same labels for all splits."""
    return {split: list(values) for split in ("train", "val", "test")}


REFUSED = [
    (of(0, 255), 2, "the training masks hold only the class 'class 0' (label 0) and ignored pixels (label 255)", "{0: 0, 255: 1}"),
    (of(0, 255), 21, "the training masks hold only the class 'class 0' (label 0) and ignored pixels (label 255)", "{0: 0, 255: 1}"),
    (of(0), 2, "all labelled pixels of the 2 training masks are of the class 'class 0' (label 0), but there are 2 classes", "correct"),
    (of(0, 255), 1, "the training masks hold only the class 'class 0' (label 0) and ignored pixels (label 255)", "{0: 0, 255: 1}"),
    (of(1, 255), 2, "all labelled pixels of the 2 training masks are of the class 'class 1' (label 1)", "correct"),
    (of(0, 1) | {"train": [0]}, 2, "but there are 2 classes, and other classes occur only in val and test", "correct"),
    (of(255), 2, "none of the 2 masks of train has a labelled pixel", "correct the masks of train"),
    (of(0, 1) | {"val": [255]}, 2, "none of the 2 masks of val has a labelled pixel", "correct the masks of val"),
    (of(0, 1) | {"test": [255]}, 2, "none of the 2 masks of test has a labelled pixel", "correct the masks of test"),
]


@pytest.mark.parametrize(("labels", "num_classes", "what", "remedy"), REFUSED)
def test_labels_that_cannot_train_or_test_are_refused(
    tmp_path: Path, labels: dict[str, list[int]], num_classes: int, what: str, remedy: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(what)) as caught:
        checked(tmp_path / "d", labels, num_classes)
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


NOTES = [
    (of(0, 1, 2), 3, []),
    (of(0, 1, 2, 255), 3, []),
    (of(0), 1, ["'class 0' is the only class, so that every network scores 1: the background is a class too"]),
    (
        of(0, 1) | {"test": [0, 255]},
        2,
        [
            "no pixel in test: class 1; their IoU on test",
            "all labelled pixels of test are of the class 'class 0', and others are ignored, but none in train; are these masks of 0 and 255",
        ],
    ),
    (of(0, 1) | {"train": [0, 1, 2]}, 3, ["no pixel in val: class 2; their IoU on val", "no pixel in test: class 2; their IoU on test"]),
    (of(0, 1, 2) | {"train": [0, 1]}, 3, ["no pixel in train: class 2; a network cannot learn them"]),
    (of(0, 1), 4, ["no pixel in any split: class 2, class 3; are the number"]),
    (of(0, 1) | {"train": [0, 1, 2]}, 4, ["no pixel in any split: class 3", "no pixel in val: class 2", "no pixel in test: class 2"]),
    (of(1, 2), 3, ["class 'class 0' (label 0) has no pixel in any split: if the labels start at 1, map them"]),
    (
        of(0, 1) | {"val": [1]},
        2,
        ["no pixel in val: class 0", "all labelled pixels of val are of the class 'class 1': val/miou is the IoU of"],
    ),
    (of(0, 1), 21, ["no pixel in any split: class 2, class 3, class 4, class 5, class 6, class 7, class 8, class 9 and 11 more; are"]),
]


@pytest.mark.parametrize(("labels", "num_classes", "expected"), NOTES)
def test_classes_that_a_split_lacks_are_named(tmp_path: Path, labels: dict[str, list[int]], num_classes: int, expected: list[str]) -> None:
    notes = checked(tmp_path / "d", labels, num_classes).notes
    assert len(notes) == len(expected)
    assert all(note.startswith(start) for note, start in zip(notes, expected, strict=True)), notes


def test_fit_refuses_them_before_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="only the class"):
        checked(tmp_path / "d", of(0, 255), 2)
    monkeypatch.chdir(tmp_path)
    words = "fit --model.network segmentation_models_pytorch.Unet --model.network.encoder_name resnet18 --model.network.encoder_weights null --data.batch_size 2"
    words += " --data.source ImageMaskFolder --data.source.root d --data.source.num_classes 2 --trainer.max_epochs 1"
    monkeypatch.setattr(sys, "argv", ["seglab", *words.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: the training masks hold only the class 'class 0' (label 0) and ignored pixels")
    assert [file.name for file in tmp_path.iterdir()] == ["d"]
