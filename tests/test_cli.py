"""The `seglab` command: reading drawn results, one real training with a user's own classes, and bad input to both."""

import csv
import dataclasses
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import wandb
import yaml
from PIL import Image

from seglab import cli, tracking
from seglab.records import Analysis, Result, Run, StudyRecord, identity, read_record, write_record, write_result

Seglab = Callable[..., "Ended"]

pytestmark = pytest.mark.filterwarnings(
    r"ignore:[\s\S]*(JSONARGPARSE_DEPRECATION|deprecated in v4)"
)  # Lightning 2.6 calls jsonargparse's old names


class Ended(NamedTuple):
    code: object
    out: str
    err: str


@pytest.fixture
def seglab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Seglab]:
    """The command, in this process and in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("WANDB_MODE", "offline")

    def run(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["seglab", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Ended(ended.value.code, *capfd.readouterr())

    yield run
    tracking.finish()
    wandb.teardown()  # else the processes of later tests log through this one's service, relative to its folder
    sys.modules.pop("mine", None)


def refusal(ended: Ended) -> str:
    """The one line of an error, with nothing printed beside it."""
    assert ended.code == 2, ended
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1, ended.err
    return ended.err


def write_study(folder: Path, *, arms: tuple[str, ...] = ("none", "l2"), seeds: int = 7) -> Path:
    """Results as `run` leaves them: every arm is 0.02 better than the one before it, give or take a little."""
    record = StudyRecord(folder.name, arms[0], "test/miou", {"epochs": 2}, {arm: {"name": arm} for arm in arms})
    for place, arm in enumerate(arms):
        for seed in range(seeds):
            run = Run(folder.name, arm, seed)
            run.directory(folder).mkdir(parents=True)
            scores = {"miou": 0.5 + 0.01 * seed + place * (0.02 + 0.001 * (seed % 3))}
            iou = {"iou": (scores["miou"], scores["miou"])}
            write_result(
                run.directory(folder) / "result.json",
                Result(run, identity(record, run), ("road", "car"), scores, scores, {"test": iou}, {"seconds": 1.0 + place}, None, "0.1.0"),
            )
    write_record(folder, record)
    return folder


def words_of(text: str) -> str:
    """A printed table without its lines."""
    return re.sub(r"[\s│┃]+", " ", text)


def test_compare_a_study(seglab: Seglab, tmp_path: Path) -> None:
    folder = write_study(tmp_path / "runs" / "penalties")
    ended = seglab("compare", "runs/penalties")
    assert ended.code == 0, ended
    assert "better" in ended.out
    assert "report: runs/penalties/report.html" in ended.out
    assert "l2 is better than none" in (folder / "report.html").read_text()


def test_compare_and_status_of_several_studies(seglab: Seglab, tmp_path: Path) -> None:
    write_study(tmp_path / "runs" / "penalties")
    write_study(tmp_path / "runs" / "rates", arms=("low", "high"), seeds=2)
    (tmp_path / "runs" / "fit").mkdir()  # no study
    ended = seglab("compare", "runs")
    assert ended.code == 0, ended
    for name in ("penalties", "rates"):
        assert f"report: runs/{name}/report.html" in ended.out
        assert (tmp_path / "runs" / name / "report.html").exists()
    assert not (tmp_path / "runs" / "fit" / "report.html").exists()
    status = seglab("status", "runs")
    assert status.code == 0
    assert "runs/penalties: 14 of 14 runs done" in status.out
    assert "runs/rates: 4 of 4 runs done" in status.out


def test_another_metric_and_baseline(seglab: Seglab, tmp_path: Path) -> None:
    folder = write_study(tmp_path / "penalties")
    ended = seglab("compare", "penalties", "--metric", "val/miou", "--baseline", "l2")
    assert ended.code == 0, ended
    report = (folder / "report-val-miou-against-l2.html").read_text()
    assert "none is worse than l2" in report, ended.out
    assert not (folder / "report.html").exists()


def test_status_counts_the_runs_that_are_declared(seglab: Seglab, tmp_path: Path) -> None:
    folder = write_study(tmp_path / "penalties", arms=("none", "l1", "l2"), seeds=3)
    record = read_record(folder)
    assert record is not None
    analysis = Analysis("none", "test/miou", None, 0.05, ("none", "l1", "l2"), (0, 1, 2))
    write_record(folder, dataclasses.replace(record, analysis=analysis))
    shutil.rmtree(folder / "l2")
    shutil.rmtree(folder / "l1" / "seed-2")
    said = words_of(seglab("status", folder).out)
    assert "5 of 9 runs done" in said
    assert "l1 2 0 0 1" in said
    assert "l2 0 0 0 3" in said


def test_status_has_the_arms_in_the_order_of_the_comparison(seglab: Seglab, tmp_path: Path) -> None:
    folder = write_study(tmp_path / "penalties", arms=("none", "zero", "l2"), seeds=3)
    record = read_record(folder)
    assert record is not None
    assert list(record.arms) == ["none", "zero", "l2"]
    said = words_of(seglab("status", folder).out)
    assert said.index("none 3") < said.index("zero 3") < said.index("l2 3")


def test_status_tells_what_is_not_done(seglab: Seglab, tmp_path: Path) -> None:
    folder = write_study(tmp_path / "penalties", seeds=3)
    (folder / "l2" / "seed-0" / "result.json").rename(folder / "l2" / "seed-0" / "failure.json")
    (folder / "l2" / "seed-0" / "failure.json").write_text('{"error": "NonFiniteLossError: NaN"}')
    (folder / "l2" / "seed-0" / "lease.0").write_text("elsewhere 7\nfailed\nreleased\n")
    (folder / "l2" / "seed-1" / "result.json").unlink()
    (folder / "l2" / "seed-1" / "lease.0").write_text("elsewhere 7\n")
    (folder / "l2" / "seed-1" / "progress.json").write_text('{"done": 5, "all": 10, "epoch": 1}')
    (folder / "l2" / "seed-2" / "result.json").unlink()
    ended = seglab("status", folder)
    assert ended.code == 0, ended
    said = words_of(ended.out)
    assert "3 of 6 runs done" in said
    assert "none 3 0 0 0" in said
    assert "l2 0 1 1 1 seed 0 failed: NonFiniteLossError: NaN" in said
    assert "seed 1: 45%, process 7 on elsewhere" in said


def test_a_damaged_result_is_reported_and_left_out(seglab: Seglab, tmp_path: Path) -> None:
    folder = write_study(tmp_path / "penalties")
    path = folder / "l2" / "seed-6" / "result.json"
    path.write_text(path.read_text()[:100])
    compared = seglab("compare", folder)
    assert compared.code == 0, compared
    assert "over 6 seeds" in (folder / "report.html").read_text()
    assert "l2/seed-6/result.json: damaged" in (folder / "report.html").read_text()
    assert "damaged (not JSON" in words_of(compared.out)
    status = seglab("status", folder)
    assert status.code == 1
    assert f"{path}: damaged" in status.out.replace("\n", "")


def test_nothing_finished_yet_is_no_error_of_input(seglab: Seglab, tmp_path: Path) -> None:
    folder = write_study(tmp_path / "penalties", seeds=1)
    for path in folder.glob("*/seed-0/result.json"):
        path.unlink()
    ended = seglab("compare", folder)
    assert (ended.code, ended.err) == (1, "")
    assert "no finished run yet" in ended.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ("name a command: compare, status", "--help")),
        (["fitt"], ("'fitt'", "compare", "status", "fit", "test", "validate")),
        (["compare"], ("RUNS", "--help")),
        (["status"], ("RUNS", "--help")),
        (["compare", "nowhere"], ("nowhere: no such folder", "runs/regularization")),
        (["status", "nowhere"], ("nowhere: no such folder",)),
        (["compare", "."], (".: holds no study", "study.json")),
        (["compare", "a", "--bogus"], ("--bogus", "--help")),
        (["compare", "a", "--margin", "x"], ("--margin", "expected float, got x")),
        (["status", "a", "b"], ("b", "--help")),
    ],
)
def test_bad_input_to_reading(seglab: Seglab, tmp_path: Path, words: list[str], expected: tuple[str, ...]) -> None:
    line = refusal(seglab(*words))
    for part in expected:
        assert part in line
    assert list(tmp_path.iterdir()) == []


def test_what_a_study_does_not_have(seglab: Seglab, tmp_path: Path) -> None:
    folder = write_study(tmp_path / "penalties")
    line = refusal(seglab("compare", folder, "--metric", "test/beauty"))
    assert "test/beauty" in line
    assert "test/iou/road" in line
    line = refusal(seglab("compare", folder, "--baseline", "l3"))
    assert "l3" in line
    assert "none" in line
    assert not (folder / "report.html").exists()


MINE = """
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from seglab import Regularizer, SegmentationSource, Shapes


class Network(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, num_classes, 1))

    def forward(self, image):
        return self.layers(image)


class MyLoss(nn.Module):
    def __init__(self, ignore: int = 255) -> None:
        super().__init__()
        self.ignore = ignore
    def forward(self, logits, mask):
        return nn.functional.cross_entropy(logits, mask, ignore_index=self.ignore)


@dataclass(frozen=True)
class Cubic(Regularizer):
    strength: float
    def penalty(self, weights):
        return self.strength * sum(weight.abs().pow(3).sum() for weight in weights)


@dataclass(frozen=True)
class Cells(SegmentationSource):
    root: Path
    class_names = ("background", "a", "b", "c")
    def split(self, name): return Shapes(num_train=8, num_val=4, num_test=4, image_size=32, num_shapes=3).split(name)
"""

CONFIG = """
model:
  network: {class_path: mine.Network, init_args: {num_classes: 4}}
  regularizer: {class_path: mine.Cubic, init_args: {strength: 0.01}}
data:
  source: {class_path: seglab.Shapes, init_args: {num_train: 8, num_val: 4, num_test: 4, image_size: 32, num_shapes: 3}}
  batch_size: 4
  num_workers: 0
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder: a file of their own classes and a configuration that names them."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # the test's folder is not the training's
def test_fit_and_test_with_a_user_s_own_classes(seglab: Seglab, project: Path) -> None:
    data = ("--data.source", "mine.Cells", "--data.source.root", "cells", "--data.augmentation", "null", "--data.crop", "[16,16]")
    fitted = seglab("fit", "--config", "c.yaml", "--model.loss", "mine.MyLoss", "--model.regularizer.strength", "0.02", *data)
    assert fitted.code == 0, fitted
    assert " are trained in crops of 16×16 at " in fitted.out
    run = project / "runs" / "fit" / "version_0"
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["model"]["loss"]["class_path"] == "mine.MyLoss"
    assert saved["data"]["source"] == {"class_path": "mine.Cells", "init_args": {"root": "cells"}}
    assert (saved["data"]["crop"], saved["data"]["augmentation"], saved["data"]["batch_size"]) == ([16, 16], None, 4)
    assert saved["model"]["regularizer"] == {"class_path": "mine.Cubic", "init_args": {"strength": 0.02}}
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    (miou,) = [float(row["val/miou"]) for row in rows if row["val/miou"]]
    assert 0 < miou < 1
    path = run / "checkpoints" / "last.ckpt"
    assert (run / "checkpoints" / "best.ckpt").exists()
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["seglab"]["network"]["class"] == "mine.Network"
    assert checkpoint["seglab"]["class_names"] == ["background", "a", "b", "c"]
    assert checkpoint["state_dict"]["network.layers.2.weight"].shape == (4, 8, 1, 1)
    penalty = [float(row["train/penalty"]) for row in rows if row["train/penalty"]]
    assert penalty, "the penalty was not applied"
    assert penalty[0] > 0
    tracking.finish()

    tested = seglab("test", "--config", run / "config.yaml", "--ckpt_path", path)
    assert tested.code == 0, tested
    with (project / "runs" / "fit" / "version_1" / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["test/miou"]) < 1


def test_fit_looks_at_every_sample_first(seglab: Seglab, project: Path) -> None:
    generator = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for folder in ("images", "masks"):
            (project / "data" / split / folder).mkdir(parents=True)
        for name in ("a.png", "b.png"):
            label = 9 if (split, name) == ("val", "b.png") else 1
            Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(project / "data" / split / "images" / name)
            Image.fromarray(np.full((16, 16), label, np.uint8)).save(project / "data" / split / "masks" / name)
    given = yaml.safe_load(CONFIG)
    given["data"] = {"source": {"class_path": "seglab.ImageMaskFolder", "init_args": {"root": "data", "num_classes": 4}}, "batch_size": 2}
    (project / "c.yaml").write_text(yaml.safe_dump(given))
    line = refusal(seglab("fit", "--config", "c.yaml"))
    assert "data/val/masks/b.png: label 9, the classes are 0…3" in line


def test_a_configuration_of_before_is_told_the_new_spelling(seglab: Seglab, project: Path) -> None:
    given = {**yaml.safe_load(CONFIG), "data": {"class_path": "seglab.Shapes", "init_args": {"num_train": 8, "batch_size": 4}}}
    (project / "c.yaml").write_text(yaml.safe_dump(given))
    assert "--data.source seglab.Shapes" in refusal(seglab("fit", "--config", "c.yaml"))


@pytest.mark.parametrize("verb", ["test", "validate"])
def test_no_evaluation_without_a_checkpoint(seglab: Seglab, project: Path, verb: str) -> None:
    for words, expected in (((), "none is named"), (("--ckpt_path", "nowhere.ckpt"), "nowhere.ckpt is no file")):
        line = refusal(seglab(verb, "--config", "c.yaml", *words))
        assert "--ckpt_path" in line
        assert verb in line
        assert expected in line
    assert not (project / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model.loss", "mine.MyLos"], ("--model.loss: mine has no class 'MyLos'", "MyLoss", "did you mean mine.MyLoss?")),
        (["--model.loss", "yours.MyLoss"], ("--model.loss: there is no module 'yours'", "working directory")),
        (["--model.loss", "CrossEntropyy"], ("--model.loss", "did you mean seglab.CrossEntropy?")),
        (["--data.source", "CamVidd"], ("--data.source", "did you mean seglab.CamVid?")),
        (["--data", "CamVid"], ("--data: ", "--data.source CamVid")),
        (["--data.root", "D"], ("--data.root: ", "--data.source.root")),
        (["--data.augment", "false"], ("--data.augment is now --data.augmentation: null for none",)),
        (["--trainer.max_epochs", "x"], ("--trainer.max_epochs: expected int, got x",)),
        (["--data.batch_size", "x"], ("--data.batch_size: expected int, got x",)),
        (["--data.sizee", "3"], ("--data.sizee: loading has no such option",)),
        (["--data.source.sizee", "3"], ("seglab.Shapes has no option data.source.sizee",)),
        (["--model.regularizer.strength", "x"], ("--model.regularizer.strength: expected float, got x",)),
        (["--trainer.devices", "0"], ("devices", "0")),
        (["--bogus", "3"], ("--bogus", "--help")),
        (["--config", "nowhere.yaml"], ("--config", "nowhere.yaml", "not exist")),
    ],
)
def test_bad_flags_to_fit(seglab: Seglab, project: Path, words: list[str], expected: tuple[str, ...]) -> None:
    line = refusal(seglab("fit", "--config", "c.yaml", *words))
    for part in expected:
        assert part in line
    for jargon in ("Parser key", "class_path", "NoneType", "NestedArg", "Namespace", "Expected a path"):
        assert jargon not in line
    assert not (project / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU")
def test_fit_on_a_gpu_that_is_not_there(seglab: Seglab, project: Path) -> None:
    assert "gpu" in refusal(seglab("fit", "--config", "c.yaml", "--trainer.accelerator", "gpu"))
    assert not (project / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "class_path: mine.Cubic, init_args: {strength: 0.01}",
            "class_path: seglab.L2, init_args: {strength: -1}",
            ("L2: strength", "0 or more", "-1"),
        ),
        ("mine.Network", "mine.Net", ("--model.network: module 'mine' has no attribute 'Net'",)),
        ("max_epochs: 1", "max_epochs: one", ("--trainer.max_epochs: expected int, got one",)),
        ("batch_size: 4", "batch_size: 0", ("batch_size is 0",)),
        ("model:", "modell:", ("modell",)),
        ("trainer: {", "trainer: [", ("parsing",)),
    ],
)
def test_bad_values_in_the_configuration(seglab: Seglab, project: Path, old: str, new: str, expected: tuple[str, ...]) -> None:
    assert CONFIG.count(old) == 1
    (project / "c.yaml").write_text(CONFIG.replace(old, new))
    line = refusal(seglab("fit", "--config", "c.yaml"))
    for part in expected:
        assert part in line
    assert not (project / "runs").exists()


def test_the_installed_command_is_this_one() -> None:
    from importlib.metadata import entry_points

    (command,) = entry_points(group="console_scripts", name="seglab")
    assert command.load() is cli.main
    assert shutil.which("seglab", path=os.path.dirname(sys.executable)) is not None  # noqa: PTH120
