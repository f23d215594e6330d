"""Mistakes on an experiment's command line: one line that names it and helps, exit code 2, and nothing written."""

import dataclasses
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import seglab
from seglab import OHEM, cli
from seglab.interruption import SIGNALS
from seglab.records import NUMERICS, Result, Run, identity, read_record, write_record, write_result
from seglab.script.main import main
from seglab.study.identity import record
from tests.study import tiny_experiment

Refused = Callable[..., str]


@pytest.fixture
def signals() -> Iterator[None]:
    """Afterwards they are what they were: a worker takes them over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *SIGNALS)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def refused(signals: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Run the script in an empty folder, in this process; give the one line of its error."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*words: object, said: bool = False) -> str:
        before = snapshot(place)
        monkeypatch.setattr(sys, "argv", ["tiny_experiment.py", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main(tiny_experiment.study)
        out, err = capfd.readouterr()
        assert ended.value.code == 2, out + err
        assert err.startswith("error: ")
        assert err.count("\n") == 1, err
        assert err.endswith("\n")
        assert snapshot(place) == before, "something was written"
        assert said or out == "", out
        return err

    return run


def snapshot(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def write_images(root: Path) -> Path:
    """Two images of 32×32 a split, with masks of the classes 0, 1, 2."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for kind, shape, top in (("images", (32, 32, 3), 256), ("masks", (32, 32), 3)):
            (root / split / kind).mkdir(parents=True)
            for number in range(2):
                Image.fromarray(rng.integers(0, top, shape, dtype=np.uint8)).save(root / split / kind / f"{number}.png")
    return root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data")


def flags(root: Path | str) -> list[str]:
    return ["--data.source", "ImageMaskFolder", "--data.source.root", str(root), "--data.source.num_classes", "3"]


def no_mask(data: Path) -> None:
    (data / "val" / "masks" / "1.png").unlink()


def smaller_mask(data: Path) -> None:
    Image.fromarray(np.zeros((32, 31), np.uint8)).save(data / "train" / "masks" / "1.png")


def fourth_label(data: Path) -> None:
    Image.fromarray(np.full((32, 32), 3, np.uint8)).save(data / "test" / "masks" / "0.png")


def broken_image(data: Path) -> None:
    whole = (data / "train" / "images" / "0.png").read_bytes()
    (data / "train" / "images" / "0.png").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (no_mask, ("val/images/1.png", "no mask", "add the mask")),
        (smaller_mask, ("train/masks/1.png", "32×31", "32×32", "export the mask")),
        (fourth_label, ("test/masks/0.png", "label 3", "0…2", "correct the mask")),
        (broken_image, ("train/images/0.png", "cannot be read", "replace the file")),
    ],
)
def test_damaged_data(refused: Refused, data: Path, damage: Callable[[Path], None], expected: tuple[str, ...]) -> None:
    damage(data)
    line = refused("run", *flags(data), said=True)  # how many runs are to do is said before the data are read
    for words in expected:
        assert words in line


def test_the_same_data_undamaged_pass(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["tiny_experiment.py", "run", "--dry_run", *flags(data)])
    with pytest.raises(SystemExit) as ended:
        main(tiny_experiment.study)
    assert ended.value.code == 0
    assert f"--data.source.root {data}" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", *flags("nowhere")], ("nowhere/train/images: no such folder", "correct the root")),
        (["run", "--data.source", "CamVid"], ("--data.source: CamVid needs root", "add --data.source.root")),
        (["run", "--arm", "l3"], ("unknown arm 'l3'", "none, l1, l2")),
        (["run", "--data.source", "nowhere.Foo"], ("--data.source: there is no module 'nowhere'", "import path", "working directory")),
        (["run", "--data.source", "seglab.CamVidd"], ("--data.source", "'CamVidd'", "did you mean seglab.CamVid?")),
        (["run", "--data.source", "CamVidd"], ("--data.source", "'CamVidd'", "did you mean seglab.CamVid?", "import path")),
        (
            ["run", "--data.source", "seglab.L2"],
            ("--data.source", "seglab.L2 is a Regularizer, no seglab.SegmentationSource", "such as seglab.ADE20K"),
        ),
        (["run", "--data", "CamVid"], ("--data: ", "--data.source CamVid")),
        (["run", "--data=CamVid", "--data.size", "[3,4]"], ("--data: ", "--data.source CamVid")),
        (["run", "--data", "my_file.Cells", "--data.root", "D"], ("--data: ", "--data.source my_file.Cells", "--data.source.NAME")),
        (["run", "--data.root", "D"], ("--data.root: ", "--data.source.root", "--help lists")),
        (["run", "--data.image_size=48"], ("--data.image_size: ", "--data.source.image_size")),
        (["run", "--data.num_train", "4", "--data.noise", "0"], ("--data.num_train: ", "--data.source.num_train")),
        (["run", "--data.help", "CamVid"], ("--data.help: ", "--data.source.help")),
        (["run", "--data.augment", "false"], ("--data.augment is now --data.augmentation: null for none",)),
        (["run", "--data.augmentation", "false"], ("--data.augmentation: expected an import path, or null for none, got False",)),
        (["run", "--data.augmentation", "nowhere.flips"], ("--data.augmentation: there is no module 'nowhere'",)),
        (["run", "--data.source.num_train", "x"], ("--data.source.num_train: expected int, got x",)),
        (["run", "--data.source.num_train", "0"], ("num_train is 0", "at least one image")),
        (["run", "--loss", "CrossEntropyy"], ("--loss", "did you mean seglab.CrossEntropy?")),
        (["run", "--loss", "seglab.Dicee"], ("--loss", "'Dicee'", "did you mean seglab.Dice?")),
        (["run", "--epochs", "x"], ("--epochs: expected int, got x",)),
        (["run", "--epochs", "1.5"], ("--epochs: expected int, got 1.5",)),
        (["run", "--data.batch_size", "x"], ("--data.batch_size: expected int, got x",)),
        (["run", "--data.size", "[1,2,3]"], ("--data.size: expected 2 values", "--data.size 96,128", "got [1,2,3]")),
        (["run", "--data.batch_size", "0"], ("batch_size is 0", "at least one")),
        (["run", "--data.sizee", "3"], ("--data.sizee: loading has no such option", "--help lists")),
        (["run", "--data.source.sizee", "3"], ("seglab.Shapes has no option data.source.sizee", "--data.source.help seglab.Shapes")),
        (["run", "--bogus", "3"], ("--bogus", "--help lists")),
        (["run", "stray"], ("stray", "--help lists")),
        (["frobnicate"], ("'frobnicate'", "run", "status", "compare")),
        ([], ("name a verb", "run", "status", "compare")),
        (["run", "--strength", "-1"], ("strength", "0 or more", "-1")),
        (["run", "--strength", "nan"], ("--strength: expected float, got nan",)),
        (["run", "--seeds", "0"], ("no seeds", "--seeds", "1 or more")),
        (["run", "--seed", "-1"], ("seed -1", "0 or more")),
        (["run", "--seed", "x"], ("--seed: expected int, got x",)),
        (["run", "--epochs", "0"], ("epochs 0", "1 or more")),
        (["run", "--jobs", "0"], ("--jobs 0", "1 or more")),
        (["run", "--runs_per_device", "0"], ("--runs_per_device 0", "1 or more")),
        (
            ["run", "--runs_per_device", "auto", "--accelerator", "cpu"],
            ("--runs_per_device auto", "the runs compute on the CPU", "give a number of runs"),
        ),
        (["run", "--runs_per_device", "many"], ("--runs_per_device: expected int or 'auto', got many",)),
        (["launch", "--runs_per_device", "auto"], ("--runs_per_device: expected int, got auto",)),
        (["launch", "--runs_per_device", "0"], ("--runs_per_device 0", "1 or more")),
        (
            ["launch", "--runs_per_device", "2", "--num_nodes", "2"],
            ("--runs_per_device 2 --num_nodes 2", "runs on several nodes share no GPU", "leave one out"),
        ),
        (
            ["launch", "--launcher", "Slurm", "--runs_per_device", "8", "--dry_run"],
            ("--launcher.cpus 4", "8 runs at a time have 8 processes", "give each a core"),
        ),
        (["run", "--jobs", "2", "--runs_per_device", "2"], ("--jobs 2 --runs_per_device 2", "give one of them")),
        (["run", "--jobs", "x"], ("--jobs: expected int, got x",)),
        (["run", "--name", "a/b"], ("study 'a/b'", "letters, digits")),
        (["run", "--name", ".."], ("study '..'", "letters, digits")),
        (["run", "--name", "a" * 129], ("up to 127",)),
        (["run", "--wandb", "sometimes"], ("--wandb", "'auto', 'online', 'offline', 'disabled'", "sometimes")),
        (["run", "--devices", "0"], ("--devices 0", "1 or more")),
        (["run", "--num_nodes", "0"], ("--num_nodes 0", "1 or more")),
        (
            ["run", "--num_nodes", "2"],
            ("--num_nodes 2", "only a job of a cluster has several nodes", "`launch`", "an interactive job of 2 nodes"),
        ),
        (["run", "--devices", "3", "--accelerator", "cpu"], ("a batch of 4", "does not divide among 3", "multiple of 3")),
        (
            ["run", "--devices", "5", "--accelerator", "cpu", "--data.batch_size", "5"],
            ("the val split has 4 images", "5 processes", "fewer devices"),
        ),
        (["run", "--accelerator", "quantum"], ("--accelerator", "'auto', 'cpu', 'gpu'", "quantum")),
        (["work", "--arm", "l1"], ("runs/tiny", "no study.json", "`run` writes it")),
        (["execute", "--arm", "l1"], ("--arm and --seed",)),
        (["compare"], ("runs/tiny: no such folder", "--root", "--name")),
        (["status"], ("runs/tiny: no such folder", "--root", "--name")),
        (["compare", "--margin", "x"], ("--margin: expected float, got x",)),
    ],
)
def test_one_line_that_helps(refused: Refused, words: list[str], expected: tuple[str, ...]) -> None:
    line = refused(*words)
    for part in expected:
        assert part in line
    for jargon in ("Parser key", "class_path", "NoneType", "NestedArg", "Namespace", "Traceback"):
        assert jargon not in line


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(refused: Refused) -> None:
    line = refused("run", "--accelerator", "gpu")
    assert "--accelerator gpu" in line
    assert "no GPU" in line
    assert "choose cpu" in line


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_more_gpus_than_there_are(refused: Refused) -> None:
    assert "choose fewer" in refused("run", "--devices", torch.cuda.device_count() + 1)


def test_a_root_that_is_a_file(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    for verb in ("run", "status", "compare"):
        line = refused(verb, "--root", file)
        assert str(file) in line
        assert "--root" in line
    assert file.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_to_write(refused: Refused, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    line = refused("run", "--root", closed)
    assert "permission" in line
    assert str(closed) in line
    assert "--root" in line


def test_a_disk_that_is_mounted_to_be_read(refused: Refused, read_only: Callable[[], Path]) -> None:
    closed = read_only()
    line = refused("run", "--root", closed)
    assert f"{closed / 'tiny'}: no permission to write in {closed}; choose another folder with --root" in line


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """The folder of a study that has its record, as `run` writes it, and a result of each arm."""
    study = tiny_experiment.study(seeds=1)
    folder = tmp_path / "here" / "runs" / "tiny"
    folder.mkdir(parents=True)
    written = record(study, list(study.arms))
    write_record(folder, written)
    for arm in study.arms:
        run = Run("tiny", arm, 0)
        run.directory(folder).mkdir(parents=True)
        scores = {"miou": 0.5, "dice": 0.6}
        iou = {"iou": (0.5,) * 4}
        result = Result(
            run, identity(written, run), tuple("abcd"), scores, scores, {"val": iou, "test": iou}, {"seconds": 1.0}, None, "0.1.0"
        )
        write_result(run.directory(folder) / "result.json", result)
    return folder


@pytest.fixture
def refused_there(recorded: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Do what `refused` does, where the study's folder is."""
    monkeypatch.chdir(recorded.parents[1])
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*words: object) -> str:
        before = snapshot(recorded)
        monkeypatch.setattr(sys, "argv", ["tiny_experiment.py", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main(tiny_experiment.study)
        err = capfd.readouterr().err
        assert ended.value.code == 2, err
        assert err.count("\n") == 1, err
        assert snapshot(recorded) == before, "something was written"
        return err

    return run


@pytest.mark.parametrize(("field", "value"), [("numerics", 0), ("epochs", 77), ("precision", "16-mixed")])
def test_a_folder_of_other_settings(refused_there: Refused, recorded: Path, field: str, value: object) -> None:
    path = recorded / "study.json"
    raw = json.loads(path.read_text())
    now = raw["shared"][field]
    raw["shared"][field] = value
    path.write_text(json.dumps(raw))
    line = refused_there("run")
    assert f"{field}: {value} → {now}" in line
    assert "--name or --root" in line
    assert (f"with seglab {seglab.__version__}, as this version gives other numbers" in line) == (field == "numerics")


def test_a_folder_with_older_numbers_of_a_loss_that_changed(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    study = tiny_experiment.study(seeds=1, loss=OHEM)
    written = record(study, list(study.arms))
    write_record(recorded, dataclasses.replace(written, shared={**written.shared, "numerics": 1}, version="0.2.0"))
    monkeypatch.chdir(recorded.parents[1])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["tiny_experiment.py", "run", "--seeds", "1", "--loss", "seglab.OHEM"])
    with pytest.raises(SystemExit) as ended:
        main(tiny_experiment.study)
    err = capfd.readouterr().err
    assert ended.value.code == 2, err
    assert err.count("\n") == 1, err
    assert f"numerics: 1 → {NUMERICS}" in err
    assert "with seglab 0.2.0, as this version gives other numbers for what uses seglab.OHEM" in err


def test_a_folder_whose_numbers_are_older_where_none_of_them_changed(refused_there: Refused, recorded: Path) -> None:
    """The message speaks of what differs, and not of the version."""
    path = recorded / "study.json"
    raw = json.loads(path.read_text())
    raw["shared"] |= {"numerics": 1, "epochs": 77}
    path.write_text(json.dumps(raw))
    line = refused_there("run")
    assert "epochs: 77 → 2" in line
    assert "numerics" not in line
    assert "gives other numbers" not in line


def test_a_folder_that_an_older_version_recorded(refused_there: Refused, recorded: Path) -> None:
    """Say which version goes on with it, and still read it."""
    path = recorded / "study.json"
    raw = json.loads(path.read_text())
    del raw["schema"], raw["version"], raw["accepted"]
    raw["shared"] = {**raw["shared"], "seglab": "0.1.0"}
    path.write_text(json.dumps(raw))
    line = refused_there("run")
    assert "was recorded by seglab 0.1.0 (schema 1)" in line
    assert "go on with it with seglab 0.1.0" in line
    assert read_record(recorded) is not None


def test_a_folder_of_another_study(refused_there: Refused, recorded: Path) -> None:
    path = recorded / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "study": "other"}))
    line = refused_there("run")
    assert "study: other → tiny (there → requested)" in line
    assert "--name or --root" in line


def test_a_run_in_which_nothing_can_be_written(
    refused_there: Refused, recorded: Path, small_disk: Path, read_only: Callable[[], Path]
) -> None:
    """Such as one that somebody else has begun; found before anything is done."""
    (recorded / "l1" / "seed-1").symlink_to(small_disk)
    read_only()
    line = refused_there("run")
    assert "runs/tiny/l1/seed-1: no permission to write in runs/tiny/l1/seed-1; choose another folder with --root" in line


def test_the_study_of_a_colleague_can_be_read(
    recorded: Path, small_disk: Path, read_only: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report has no place there, and is not written."""
    shutil.copytree(recorded, small_disk / "tiny")
    monkeypatch.chdir(read_only())
    said = []
    for verb in ("status", "compare"):
        assert cli.read([verb, "tiny"]) == 0
        out, err = capsys.readouterr()
        said.append(" ".join(out.split()))
        assert err == ""
    assert "3 of 3 runs done" in said[0]
    assert "no report: tiny/report.html cannot be written (Read-only file system)" in said[1]
    assert "test mIoU" in said[1]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"study": "tiny", "baseline": "none", "metric": "test/miou", "shared": {}, "arms": {"none": 1}}', "Expected `object`, got `int`"),
        ('{"study": "tiny"', "not JSON"),
        ("[1]", "a list"),
        ('{"study": "tiny"}', "missing required field `baseline`"),
        ("", "not JSON"),
    ],
)
def test_a_damaged_record(refused_there: Refused, recorded: Path, content: str, expected: str) -> None:
    (recorded / "study.json").write_text(content)
    for verb in ("run", "status"):
        line = refused_there(verb)
        assert "runs/tiny/study.json: damaged" in line
        assert expected in line
        assert "Restore it" in line
    assert "baseline" in refused_there("compare")


def test_an_empty_folder_holds_no_study(refused: Refused) -> None:
    Path("runs/tiny").mkdir(parents=True)
    for verb in ("status", "compare"):
        line = refused(verb)
        assert "runs/tiny: holds no study" in line
        assert "--root and --name" in line


def test_an_unknown_metric_lists_what_there_is(refused_there: Refused) -> None:
    line = refused_there("compare", "--metric", "test/beauty")
    assert "'test/beauty'" in line
    for known in ("test/miou", "val/dice", "test/iou/a", "cost/seconds"):
        assert known in line


def test_an_unknown_baseline_lists_what_there_is(refused_there: Refused) -> None:
    line = refused_there("compare", "--baseline", "l3")
    assert "l3" in line
    for known in ("none", "l1", "l2"):
        assert known in line
