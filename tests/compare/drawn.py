"""Results drawn for the tests: the scores are given, all else follows."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from seglab.records import Result, Run, StudyRecord, identity, write_json, write_record, write_result

CLASSES = ("road", "car")

Scores = Mapping[str, tuple[float, ...]]
"""Scores of the tuning runs of an arm by setting, under the seeds 1000, 1001, ...; NaN has diverged."""


def result(
    arm: str,
    seed: int,
    miou: float,
    *,
    study: str = "study",
    classes: tuple[str, ...] = CLASSES,
    iou: tuple[float, ...] | None = None,
    seconds: float = 10.0,
) -> Result:
    values = (miou,) * len(classes) if iou is None else iou
    return Result(
        run=Run(study, arm, seed),
        identity=arm,
        class_names=classes,
        val={"miou": miou, "loss": 1 - miou},
        test={"miou": miou, "dice": miou + 0.1},
        per_class={"test": {"iou": values}},
        cost={"seconds": seconds, "exact_zeros": 0.25},
        commit="abc",
        version="0.1.0",
    )


def study(scores: Mapping[str, Sequence[float]]) -> list[Result]:
    """Arm to scores; the place is the seed."""
    return [result(arm, seed, score) for arm, values in scores.items() for seed, score in enumerate(values)]


def write_study(folder: Path, results: Sequence[Result], record: StudyRecord | None) -> None:
    for drawn in results:
        known = record is not None and drawn.run.arm in record.arms
        found = dataclasses.replace(drawn, identity=identity(record, drawn.run)) if record is not None and known else drawn
        directory = found.run.directory(folder)
        directory.mkdir(parents=True)
        write_result(directory / "result.json", found)
    if record is not None:
        write_record(folder, record)


def write_tuning_runs(folder: Path, arms: Mapping[str, Scores]) -> None:
    """Write the tuning runs of the study in `folder`."""
    place = folder / "tuning"
    record = StudyRecord("study-tuning", "none", "val/miou", {}, {f"{arm}@{setting}": {} for arm in arms for setting in arms[arm]})
    place.mkdir()
    write_record(place, record)
    for name, values in [(f"{arm}@{setting}", values) for arm, scores in arms.items() for setting, values in scores.items()]:
        for seed, value in enumerate(values, start=1000):
            run = Run("study-tuning", name, seed)
            run.directory(place).mkdir(parents=True)
            if math.isnan(value):
                write_json(run.directory(place) / "failure.json", {"error": "NonFiniteLossError: the weights are infinite"})
                continue
            found = dataclasses.replace(result(name, seed, value, seconds=90.0), run=run, identity=identity(record, run))
            write_result(run.directory(place) / "result.json", found)
            write_json(run.directory(place) / "environment.json", {"device": "TheGPU", "platform": "Linux"})
