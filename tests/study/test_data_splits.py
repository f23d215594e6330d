"""A study with data splits, run as a user runs it: paired splits, two processes, identity, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seglab import SegmentationDataModule, Shapes, Study
from seglab.records import read_record, read_result
from seglab.study.study import Study as Declared
from tests.study.scripts import Command
from tests.study.tiny_experiment import study

SHAPES = Shapes(num_train=16, num_val=4, num_test=6, image_size=32, num_shapes=3)
DIVIDED = SegmentationDataModule(SHAPES, batch_size=4, num_workers=0, folds=5)


def names(run: Path, split: str) -> list[str]:
    return [str(name) for name in np.load(run / "confusion.npz")[f"{split}_names"]]


@pytest.mark.weekly
def test_both_arms_and_two_processes_have_the_split_of_the_seed(experiment: Command, tmp_path: Path) -> None:
    command = ("run", "--data.folds", 5, "--seeds", 5, "--seed", 3, "--epochs", 1, "--accelerator", "cpu")
    for words in (("--arm", "none"), ("--arm", "l1", "--devices", 2)):
        done = experiment(*command, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    expected = DIVIDED.with_seed(3)
    for split in ("val", "test"):
        dataset = expected.used(split)
        own = [dataset[index][2] for index in range(len(dataset))]
        for arm in ("none", "l1"):
            assert sorted(names(tmp_path / "runs" / "tiny" / arm / "seed-3", split)) == sorted(own)
    record = read_record(tmp_path / "runs" / "tiny")
    assert record is not None
    assert record.shared["data"]["folds"] == DIVIDED.mean_sizes()
    refused = experiment(*command[:1], *command[3:])
    assert refused.returncode == 2
    assert "data.folds" in refused.stderr
    assert read_result(tmp_path / "runs" / "tiny" / "none" / "seed-3" / "result.json").test


def test_what_is_not_honest_over_data_splits_is_refused() -> None:
    declared = study(data=DIVIDED, seeds=5)
    assert isinstance(declared, Declared)
    common: dict[str, Any] = {"data": DIVIDED, "epochs": 1, "baseline": "none", "arms": declared.arms}
    refused: list[tuple[dict[str, Any], str]] = [
        ({"seeds": range(4)}, "each fold of a division has to be tested once"),
        ({"seeds": range(10), "looks": (5,)}, "folds 5 with looks"),
        ({"seeds": range(10), "always_valid": True}, "folds 5 with always_valid"),
    ]
    for more, message in refused:
        with pytest.raises(ValueError, match=message):
            Study("tiny", **common, **more)


def test_tuned_arms_are_refused() -> None:
    from tests.study.tuned_experiment import study as tuned

    with pytest.raises(ValueError, match="settings would be chosen on test images"):
        tuned(data=DIVIDED, seeds=5)


def test_the_dry_run_prints_the_sizes(experiment: Command) -> None:
    done = experiment("run", "--data.folds", 5, "--seeds", 10, "--dry_run", "--try_arms", "false")
    assert done.returncode == 0, done.stderr
    assert "data splits: all 26 images, divided into 5 folds" in done.stdout
    assert "17 train, 4 val, 5 test" in done.stdout
    assert "planned: 10 seeds" in done.stdout
