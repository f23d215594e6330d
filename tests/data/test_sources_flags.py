"""Layouts, splits and tables of classes as flags: parsed, reproduced, trained on, and refused in one line."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seglab.data import SPLITS, ImageMaskFolder, KFold, RandomSplit
from seglab.script.command_line import parse
from seglab.script.parser import changed_flags_of, flags_of, study_parser
from seglab.study.settings import Settings
from tests.data.layouts import binary_mask, colour_mask, index_mask, numbers_of, write
from tests.data.test_data_flags import data_of, study
from tests.study.scripts import SCRIPT, seglab

FOLDER = "--data.source ImageMaskFolder --data.source.root D"
PATTERNS = "--data.source.images 'images/*.jpg' --data.source.masks 'labels/*_mask.png'"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with three data sets."""
    write(tmp_path / "D", "images/{key}.jpg", "labels/{key}_mask.png", index_mask)
    write(tmp_path / "binary", "images/{key}.jpg", "labels/{key}_mask.png", binary_mask)
    write(tmp_path / "rgb", "images/{key}.jpg", "labels/{key}_mask.png", colour_mask)
    monkeypatch.chdir(tmp_path)
    return tmp_path


FUNCTION: Any = study


@pytest.mark.parametrize("typed", ["{0:1}", "0:1", "{a: 1}", "[1]", "{0: x}"])
def test_a_table_of_labels_that_is_none_is_explained(here: Path, typed: str) -> None:
    words = [*shlex.split(f"{FOLDER} {PATTERNS}"), "--data.source.labels", typed]
    with pytest.raises(
        ValueError, match=r"--data.source.labels: expected a table in one word, as in '{0: 0, 255: 1}' with a space"
    ) as caught:
        parse(study_parser(FUNCTION), words)
    assert "collections" not in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("back,cell", ["back", "cell"]),
        ("[back,cell]", ["back", "cell"]),
        ("back, cell", ["back", "cell"]),
        ('["back", "cell"]', ["back", "cell"]),
        ("back", ["back"]),
    ],
)
def test_a_list_of_a_source_is_one_word_as_every_list(here: Path, typed: str, names: list[str]) -> None:
    line = shlex.split(f"{FOLDER} {PATTERNS} --data.source.num_classes 2 --data.source.splits RandomSplit")
    given = parse(study_parser(FUNCTION), [*line, "--data.source.class_names", typed])
    assert list(given.data.source.init_args.class_names) == names


PATTERN = {"images": "images/*.jpg", "masks": "labels/*_mask.png"}


@pytest.mark.parametrize(
    ("root", "line", "expected"),
    [
        ("D", "--data.source.num_classes 2 --data.source.splits RandomSplit", {"num_classes": 2, "splits": RandomSplit()}),
        (
            "D",
            "--data.source.num_classes 2 --data.source.splits RandomSplit --data.source.splits.seed 3 --data.source.splits.test_fraction 0.25 "
            "--data.source.splits.stratified true --data.source.group '^p[0-9]+'",
            {"num_classes": 2, "splits": RandomSplit(0.1, 0.25, 3, stratified=True), "group": "^p[0-9]+"},
        ),
        (
            "binary",
            "--data.source.labels '{0: 0, 255: 1, 128: 255}' --data.source.splits KFold --data.source.splits.fold 1",
            {"labels": {0: 0, 255: 1, 128: 255}, "splits": KFold(1)},
        ),
        (
            "rgb",
            "--data.source.classes classes.csv --data.source.void void --data.source.splits seglab.KFold --data.source.splits.fold 0 "
            "--data.source.splits.folds 3",
            {"classes": Path("classes.csv"), "void": "void", "splits": KFold(0, 3)},
        ),
        ("D", "--data.source.num_classes 2 --data.source.void 9 --data.source.splits RandomSplit", {"num_classes": 2, "void": 9, "splits": RandomSplit()}),
    ],
)  # fmt: skip
def test_flags_make_the_source_and_the_recorded_flags_make_it_again(here: Path, root: str, line: str, expected: dict[str, object]) -> None:
    words = shlex.split(f"{FOLDER} {PATTERNS} {line}")
    words[words.index("D")] = root
    data = data_of(*words, "--data.batch_size", "2")
    assert data.source == ImageMaskFolder(Path(root), **PATTERN, **expected)  # type: ignore[arg-type]
    data.check()
    assert sorted(number for split in SPLITS for number in numbers_of(data.used(split))) == list(range(12))
    given = study_parser(FUNCTION).parse_args(words)
    for flags in (flags_of(FUNCTION, given), changed_flags_of(FUNCTION, given)):
        assert data_of(*flags).source == data.source


def test_a_source_that_needs_none_of_it_is_recorded_as_ever(here: Path) -> None:
    """Pin what is recorded of a folder in the first layout, so that its studies go on."""
    root = write(here / "plain", "{split}/images/{key}.jpg", "{split}/masks/{key}.png", index_mask)
    recorded = Settings().plain(ImageMaskFolder(root, 2, void=9))
    assert recorded == {"class": "seglab.ImageMaskFolder", "num_classes": 2, "class_names": ["class 0", "class 1"], "void": 9}


def test_what_is_recorded_of_a_rule(here: Path) -> None:
    source = ImageMaskFolder(here / "D", 2, **PATTERN, splits=RandomSplit(0.25, 0.25, 3))  # type: ignore[arg-type]
    recorded = json.loads(json.dumps(Settings().plain(source)))
    assert recorded["splits"] == {"class": "seglab.RandomSplit", "val_fraction": 0.25, "test_fraction": 0.25, "seed": 3}


@pytest.mark.weekly
def test_a_study_is_run_on_folds_of_patients_with_masks_in_colours(here: Path) -> None:
    """Another fold is another study, and so is an edited table."""

    def run(fold: int) -> tuple[int, str]:
        line = f"run --epochs 1 --seeds 1 --jobs 1 --root runs --data.source ImageMaskFolder --data.source.root rgb {PATTERNS}"
        line += f" --data.source.classes classes.csv --data.source.void void --data.source.splits KFold --data.source.splits.fold {fold}"
        line += " --data.source.splits.folds 4 --data.source.group '^p[0-9]+' --data.batch_size 2 --data.num_workers 0"
        done = subprocess.run([sys.executable, str(SCRIPT), *shlex.split(line)], cwd=here, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    code, text = run(fold=0)
    assert code == 0, text
    assert len(list((here / "runs").glob("tiny/*/seed-0/result.json"))) == 3
    study = json.loads((here / "runs" / "tiny" / "study.json").read_text())
    assert study["shared"]["data"]["source"]["class_names"] == ["back", "cell"]
    assert study["shared"]["data"]["source"]["splits"] == {"class": "seglab.KFold", "fold": 0, "folds": 4, "seed": 0}
    assert [study["shared"]["data"]["splits"][split]["samples"] for split in SPLITS] == [6, 3, 3]
    code, text = run(fold=1)
    assert code == 2, text
    assert "data.source.splits.fold: 0 → 1" in text
    table = here / "rgb" / "classes.csv"
    table.write_text(table.read_text() + "back,9,9,9\n")
    code, text = run(fold=0)
    assert code == 2, text
    assert "data.splits.train.files" in text


@pytest.mark.slow
def test_a_wrong_pattern_is_one_line_and_nothing_is_written(here: Path) -> None:
    line = f"fit --model.network tests.nets.Small {FOLDER} --data.source.images 'imgs/*.jpg' --data.source.masks 'labels/*_mask.png'"
    code, text = seglab(*shlex.split(line), "--data.source.num_classes", "2", "--data.source.splits", "RandomSplit", cwd=here)
    assert code == 2, text
    assert "images 'imgs/*.jpg' matches no file" in text.splitlines()[0]
    assert "images/*.jpg (12)" in text
    assert text.count("\n") == 1
    assert sorted(path.name for path in here.iterdir()) == ["D", "binary", "rgb"]
