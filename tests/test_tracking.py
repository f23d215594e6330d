"""The mode of W&B of a run, without an account and with one; the names of a run there; and the logs beside it."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from seglab.callbacks.sheet import Classes, PredictedImage
from seglab.records import Result, Run, StudyRecord
from seglab.tracking import (
    Circumstances,
    Described,
    Kept,
    LightningLogger,
    TensorBoard,
    check_mode,
    described,
    described_fit,
    finish,
    loggers,
    not_followed,
    resolved_mode,
    tables,
    wandb_id,
)
from seglab.tracking.artifacts import log_files
from seglab.tracking.config import penalty


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without credentials."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


def test_without_an_account_a_run_is_offline(nobody: Path) -> None:
    assert resolved_mode("auto") == "offline"


def test_who_is_logged_in_is_online(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody.write_text("machine api.wandb.ai\n  login user\n  password 0123456789\n")
    assert resolved_mode("auto") == "online"
    nobody.write_text("machine elsewhere.example\n  login user\n  password 0123456789\n")
    assert resolved_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert resolved_mode("auto") == "online"


def test_a_damaged_netrc_is_nobody(nobody: Path) -> None:
    nobody.write_text("machine api.wandb.ai login\nnonsense here")
    assert resolved_mode("auto") == "offline"


@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({"WANDB_MODE": "disabled"}, "disabled"),
        ({"WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_MODE": "online"}, "online"),
        ({"WANDB_MODE": "dryrun"}, "offline"),
        ({"WANDB_MODE": "run"}, "online"),
        ({"WANDB_MODE": ""}, "offline"),
        ({"WANDB_DISABLED": "true"}, "disabled"),
        ({"WANDB_DISABLED": "1", "WANDB_MODE": "online"}, "disabled"),
        ({"WANDB_DISABLED": " Y"}, "disabled"),
        ({"WANDB_DISABLED": "false"}, "offline"),
        ({"WANDB_DISABLED": "0"}, "offline"),
    ],
)
def test_the_environment_chooses_the_mode(variables: dict[str, str], mode: str, nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert resolved_mode("auto") == mode
    assert resolved_mode("offline") == "offline", "a flag is stronger"


@pytest.mark.parametrize("mode", ["shared", "Online", "none"])
def test_a_mode_that_does_not_exist_is_refused(mode: str, nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.raises(ValueError, match=f"WANDB_MODE={mode}: .*expected online, offline or disabled"):
        check_mode("auto")
    check_mode("disabled")


def test_disabled_is_true_or_false(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word that is neither is refused: the runs of a user who meant true would be online."""
    monkeypatch.setenv("WANDB_DISABLED", "disabled")
    with pytest.raises(ValueError, match="WANDB_DISABLED=disabled: neither true nor false; expected true, which"):
        check_mode("auto")
    check_mode("disabled")


def test_variables_that_name_a_run_are_named() -> None:
    assert not_followed({"WANDB_PROJECT": "", "WANDB_TAGS": "", "WANDB_NOTES": "", "WANDB_MODE": "", "PATH": ""}) is None
    for name in ("RUN_GROUP", "JOB_TYPE", "NAME", "RUN_ID", "DIR", "RESUME"):
        assert str(not_followed({f"WANDB_{name}": "x"})).startswith(f"WANDB_{name}: not followed")
    assert str(not_followed(["WANDB_RUN_ID", "WANDB_NAME"])).startswith("WANDB_NAME, WANDB_RUN_ID: not followed")


def test_an_id_is_the_same_for_the_same_run_and_no_other() -> None:
    run = Run("study", "l2+lpft@0.1", 3)
    assert wandb_id(run, "a" * 16) == wandb_id(run, "a" * 16) == "study-l2_lpft_0.1-s3-aaaaaaaa"
    assert len({wandb_id(Run("study", "l2", seed), identity * 16) for seed in range(3) for identity in "ab"}) == 6


def test_long_names_are_shortened_and_stay_different() -> None:
    study, arm = "s" * 128, "a" * 127
    ids = [wandb_id(Run(study, f"{arm}{end}", 0), "a" * 16) for end in "bc"]
    assert len({*ids}) == 2
    assert {len(found) for found in ids} == {103}
    assert wandb_id(Run("s" * 45, "a" * 45, 0), "a" * 16) == f"{'s' * 45}-{'a' * 45}-s0-aaaaaaaa", "the longest that is not changed"


@pytest.mark.slow
def test_a_run_with_long_names_is_logged(tmp_path: Path) -> None:
    """With its tables: the artifact of a table has the id in its name, and W&B refuses names that are too long."""
    import wandb

    run = Run("s" * 128, "a" * 128, 0)
    group = f"{run.study}/{run.arm}"
    loggers(Described(run.name, group, "final", {"command": "c", "folder": "f"}, tmp_path, wandb_id(run, "a" * 16)), "offline")
    try:
        assert wandb.run is not None
        assert (len(str(wandb.run.name)), len(str(wandb.run.group)), len(wandb.run.id)) == (128, 128, 103)
        wandb.run.log({"test/confusion": wandb.Table(columns=list(tables.CONFUSION_COLUMNS), data=[])})
        log_files(wandb.run, Kept(tmp_path, diff=False))
    finally:
        finish()
        wandb.teardown()


@pytest.mark.slow
@pytest.mark.parametrize(("count", "rows"), [(3, 9), (150, 22_500), (448, None)])
def test_the_table_of_a_confusion_matrix_is_whole(count: int, rows: int | None, tmp_path: Path) -> None:
    """W&B cuts a table at 10,000 rows, and takes 200,000 at most."""
    import wandb

    names = tuple(f"class {label}" for label in range(count))
    values = dict.fromkeys(tables.CLASS_COLUMNS[4:], (0.5,) * count)
    result = Result(Run("study", "arm", 0), "", names, {}, {}, {"test": values}, {}, None, "")
    described = Described("run", "group", "final", {"command": "c", "folder": "f"}, tmp_path, "id")
    loggers(described, "offline")
    try:
        assert wandb.run is not None
        wandb.run.log(tables.of_end(tables.End(result, np.eye(count, dtype=np.int64))))
    finally:
        finish()
        wandb.teardown()
    logged = {path.name.split("_")[0]: json.loads(path.read_text())["data"] for path in tmp_path.rglob("media/table/test/*.json")}
    assert len(logged["classes"]) == count
    assert (len(logged["confusion"]) if "confusion" in logged else None) == rows


L1: dict[str, Any] = {"class": "seglab.L1", "strength": 0.5}


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (None, ("none", None, None, None)),
        (L1, ("l1", "gradient", 0.5, None)),
        ({"class": "seglab.Proximal", "inner": L1}, ("l1", "proximal", 0.5, None)),
        ({"class": "seglab.Decoupled", "inner": L1}, ("l1", "decoupled", 0.5, None)),
        ({"class": "seglab.Relative", "ratio": 0.1, "inner": {"class": "seglab.Proximal", "inner": L1}}, ("l1", "proximal", 0.5, 0.1)),
        ({"class": "seglab.Scheduled", "inner": L1, "factor": {"class": "x.F"}}, ("l1", "gradient", 0.5, None)),
        ({"class": "seglab.Anchored", "inner": {"class": "seglab.L2", "strength": 1.0}}, ("anchored-l2", "gradient", 1.0, None)),
        ({"class": "seglab.GroupLasso", "strength": 2.0}, ("group-lasso", "gradient", 2.0, None)),
        ({"class": "seglab.ElasticNet", "l1": 0.1, "l2": 0.2}, ("elastic-net", "gradient", None, None)),
        ({"class": "seglab.Sum", "summands": [L1]}, ("sum", "gradient", None, None)),
        ({"class": "mine.MyPenalty", "strength": 3}, ("my-penalty", "gradient", 3, None)),
    ],
)
def test_a_penalty_in_four_columns(regularizer: dict[str, Any] | None, expected: tuple[Any, ...]) -> None:
    assert tuple(penalty(regularizer).values()) == expected


def record(**changed: Any) -> StudyRecord:
    arm = {
        "network": {"class": "segmentation_models_pytorch.Unet", "config": {"encoder_name": "resnet18"}},
        "loss": {
            "class": "seglab.WeightedSum",
            "losses": {"class": "torch.nn.ModuleDict", "a": {"class": "seglab.Dice"}, "b": {"class": "seglab.Focal"}},
        },
        "regularizer": L1,
        "freeze": {"schedule": {"class": "seglab.WarmUp", "schedule": {"class": "seglab.LPFT", "probe": 0.1}}},
        "optimizer": {"class": "torch.optim.AdamW", "lr": 0.01},
        "scheduler": {"class": "torch.optim.lr_scheduler.PolynomialLR"},
    }
    data = {"source": {"class": "seglab.CamVid"}, "batch_size": 8, "train_fraction": 0.5}
    fields: dict[str, Any] = {
        "study": "demo",
        "baseline": "none+full",
        "metric": "test/miou",
        "shared": {"data": data, "epochs": 3, "precision": "32-true"},
    }
    return StudyRecord(
        **fields | {"arms": {"l1+lpft": arm, "none+full": arm, "l1@lr=1": arm, "l1": {**arm, "tuning": {"chosen": "lr=1"}}}} | changed
    )


def at(tuning: bool = False) -> Circumstances:
    return Circumstances(Path("runs/x"), ["python", "a b.py", "run"], 30, "from scratch", tuning)


def test_a_run_in_columns() -> None:
    found = described(record(), Run("demo", "l1+lpft", 2), at())
    assert (found.name, found.group, found.job_type, found.tags) == (
        "demo/l1+lpft/s2",
        "demo/l1+lpft",
        "train",
        ("demo", "l1+lpft", "final"),
    )
    assert found.notes == f"python 'a b.py' run\n{Path('runs/x').absolute()}"
    expected = {"loss": "Dice+Focal", "schedule": "LPFT", "architecture": "Unet", "encoder": "resnet18", "dataset": "CamVid", "lr": 0.01}
    expected |= {
        "train_fraction": 0.5,
        "batch_size": 8,
        "epochs": 3,
        "precision": "32-true",
        "scheduler": "PolynomialLR",
        "weights": "from scratch",
    }
    assert {name: found.config[name] for name in expected} == expected
    assert (found.config["setting"], found.config["phases"], found.config["steps"]) == (None, None, 30)


def test_levels_of_factors_are_columns_and_win() -> None:
    found = described(record(factors=("penalty", "shape")), Run("demo", "l1+lpft", 0), at()).config
    assert (found["penalty"], found["shape"]) == ("l1", "lpft")
    swapped = described(record(factors=("schedule", "penalty")), Run("demo", "l1+lpft", 0), at()).config
    assert (swapped["schedule"], swapped["penalty"]) == ("l1", "lpft")


def test_a_tuning_run_has_the_columns_of_its_arm() -> None:
    tuned = record(study="demo-tuning", baseline="none@lr=1")
    found = described(tuned, Run("demo-tuning", "l1@lr=1", 1000), at(tuning=True))
    assert (found.group, found.job_type, found.name) == ("demo-tuning/l1", "tuning", "demo-tuning/l1@lr=1/s1000")
    assert [found.config[name] for name in ("study", "arm", "setting", "phase", "baseline")] == ["demo", "l1", "lr=1", "tuning", False]
    final = described(record(), Run("demo", "l1", 0), at())
    assert (final.config["setting"], final.config["phase"], final.group) == ("lr=1", "final", "demo/l1")
    assert set(found.config) == set(final.config)


def test_a_fit_has_the_columns_of_a_study() -> None:
    study = described(record(), Run("demo", "l1+lpft", 2), at())
    for settings in ({}, {"seed": 3, "steps": 7, "steps_per_epoch": 2, "trainer": {"precision": "32-true"}, "regularizer": None}):
        fit = described_fit("fit", settings, Path("runs/fit/version_0"), ["seglab", "fit"])
        assert set(fit.config) == set(study.config)
    assert (fit.config["seed"], fit.config["epochs"], fit.config["penalty"], fit.id) == (3, 4, "none", None)
    assert (fit.name, fit.group, fit.job_type) == ("fit/version_0", "fit", "train")


RUN = Described("s/a/s0", "s/a", "final", {"command": "c", "folder": "f", "lr": 0.5, "settings": {}}, Path(), "id")


def test_a_logger_by_its_import_path(tmp_path: Path) -> None:
    tracker = LightningLogger(
        "lightning.pytorch.loggers.CSVLogger",
        {"save_dir": str(tmp_path), "name": "{group}", "version": "{name}", "flush_logs_every_n_steps": 7},
    )
    tracker.check()
    logger = tracker.logger(RUN)
    assert isinstance(logger, CSVLogger)
    assert Path(logger.log_dir) == tmp_path / "s" / "a" / "s" / "a" / "s0"


@pytest.mark.parametrize(
    ("path", "part"),
    [("nowhere.X", "cannot be imported"), ("x", "cannot be imported"), ("os.path", "is no Logger"), ("torch.nn.Linear", "is no Logger")],
)
def test_a_logger_that_is_none(path: str, part: str) -> None:
    with pytest.raises(ValueError, match=rf"--logger.path {path}: {part}"):
        LightningLogger(path).check()


@pytest.mark.skipif(any(map(importlib.util.find_spec, ("tensorboard", "tensorboardX"))), reason="a package for TensorBoard is installed")
def test_tensorboard_without_its_package() -> None:
    with pytest.raises(ValueError, match=r"--logger TensorBoard: .*pip install tensorboard"):
        TensorBoard().check()


CLASSES = Classes(("sky", "road", "car"), np.array([[0, 0, 255], [90, 90, 90], [255, 0, 0]], np.uint8), 255)


def picture() -> PredictedImage:
    truth = np.array([[0, 0, 1, 1], [0, 255, 1, 1]])
    prediction = np.array([[0, 0, 1, 2], [0, 2, 1, 1]])
    return PredictedImage("a.png", np.full((4, 8, 3), 77, np.uint8), truth, prediction)


def test_a_picture_beside_its_masks() -> None:
    found = tables.strip(picture(), CLASSES)
    assert found.shape == (2, 12, 3)
    assert (found[:, :4] == 77).all()
    assert found[0, 4].tolist() == [0, 0, 255]
    assert found[1, 5].tolist() == [0, 0, 0], "ignored"
    assert found[0, 11].tolist() == [255, 0, 0]


def test_the_scores_of_one_image() -> None:
    """Sky 3 of 3, road 3 of 4, car 0 of 1; the ignored pixel counts nowhere."""
    miou, worst = tables.scores_of(picture(), CLASSES)
    assert miou == pytest.approx((1 + 3 / 4 + 0) / 3)
    assert worst == "car"


def test_the_rows_of_a_confusion_matrix() -> None:
    rows = list(tables.confusion_rows(np.array([[3, 1], [0, 0]]), ("a", "b")))
    assert rows[:2] == [["a", "a", 3, 0.75], ["a", "b", 1, 0.25]]
    assert rows[2][:3] == ["b", "a", 0]
    assert np.isnan(rows[2][3])


@pytest.mark.skipif(
    not any(map(importlib.util.find_spec, ("tensorboard", "tensorboardX"))), reason="no package for TensorBoard is installed"
)
def test_tensorboard_writes_into_the_folder_of_the_run(tmp_path: Path) -> None:
    tracker = TensorBoard()
    tracker.check()
    logger: Any = tracker.logger(Described(RUN.name, RUN.group, "final", RUN.config, tmp_path, "id"))
    logger.log_metrics({"val/miou": torch.tensor(0.5)}, step=3)
    logger.log_pictures("test", [picture()], CLASSES)
    logger.finalize("success")
    (events,) = (tmp_path / "tensorboard").glob("events.out.*")
    written = events.read_bytes()
    assert b"val/miou" in written
    assert b"test/predictions/a.png" in written


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="tensorboard, which reads its files, is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_has_each_value_of_a_resumed_run_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-not-found]

    def attempt(first: int, last: int, saved: str | None = None) -> None:
        logger: Any = TensorBoard().logger(Described(RUN.name, RUN.group, "final", RUN.config, tmp_path, "id"))
        if saved is not None:
            logger.restore(saved)
        for step in range(first, last):
            if step % 4 == 3:
                logger.log_pictures("val", [picture()], CLASSES)
            logger.log_metrics({"train/loss": torch.tensor(first + step / 100)}, step=step)
        logger.finalize("success")

    attempt(0, 3)
    attempt(0, 10)
    attempt(6, 12, "step,train/loss,val/miou\n" + "".join(f"{step},0.5,\n" for step in range(6)))
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    losses = [(event.step, event.value) for event in found.Scalars("train/loss")]
    assert losses == [(step, pytest.approx((0 if step < 6 else 6) + step / 100)) for step in range(12)]
    assert [event.step for event in found.Images("val/predictions/a.png")] == [2, 6, 10]
