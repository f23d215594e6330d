"""Scores under shift: in results, in comparisons, and in the table of all shifts."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from seglab.compare import Criteria, Metric, analyse, compare, read_folder
from seglab.compare.report import render
from seglab.compare.tables.shift_table import shift_table, shifts_to_table
from seglab.records import Result, StudyRecord, corruption_mean, read_result, write_result
from tests.compare.drawn import CLASSES, result, study, write_study

Settings = Mapping[str, Any]
NOISE: Settings = {"kind": "seglab.GaussianNoise"}
JPEG: Settings = {"kind": "seglab.JPEG"}
NIGHT: Settings = {"kind": None}
SHIFTS: Mapping[str, Settings] = {"noise-1": NOISE, "noise-5": NOISE, "jpeg-3": JPEG, "night": NIGHT}


def shifted(arm: str, seed: int, miou: float, names: tuple[str, ...] = tuple(SHIFTS)) -> Result:
    """A result whose score under shift number k is a (k + 2)-th of the score without."""
    scores = {name: {"miou": miou / (place + 2), "dice": miou / (place + 2) + 0.1} for place, name in enumerate(SHIFTS) if name in names}
    mean = corruption_mean(scores, {name: SHIFTS[name] for name in names})
    per_class = {f"shift/{name}": {"iou": (found["miou"],) * len(CLASSES)} for name, found in scores.items()}
    drawn = result(arm, seed, miou)
    return dataclasses.replace(
        drawn, shift=scores if mean is None else {**scores, "mean": mean}, per_class={**drawn.per_class, **per_class}
    )


def record() -> StudyRecord:
    return StudyRecord("study", "none", "test/miou", shared={}, arms={"none": {}, "l2": {}}, shifts=SHIFTS)


def test_the_mean_is_over_severities_and_then_over_corruptions() -> None:
    scores = {"noise-1": {"miou": 0.8}, "noise-5": {"miou": 0.2}, "jpeg-3": {"miou": 0.7}, "night": {"miou": 0.1}}
    assert corruption_mean(scores, SHIFTS) == pytest.approx({"miou": 0.6}), "((0.8 + 0.2) / 2 + 0.7) / 2: mPC of Michaelis et al. (2019)"
    assert corruption_mean({name: scores[name] for name in ("noise-1", "night")}, SHIFTS) is None, "corruptions are missing"
    assert corruption_mean(scores, {"night": NIGHT}) is None, "another domain is no corruption"


def test_a_result_keeps_its_scores_under_shift(tmp_path: Path) -> None:
    found = shifted("none", 0, 0.6)
    write_result(tmp_path / "result.json", found)
    assert read_result(tmp_path / "result.json") == found
    assert found.score("shift/noise-5/miou") == pytest.approx(0.2)
    assert found.score("shift/night/iou/car") == pytest.approx(0.12)
    assert found.score("shift/mean/miou") == pytest.approx(fmean([fmean([0.3, 0.2]), 0.15]))


def test_a_result_of_an_older_version_has_no_shifts(tmp_path: Path) -> None:
    write_result(tmp_path / "result.json", result("none", 0, 0.5))
    raw = json.loads((tmp_path / "result.json").read_text())
    del raw["shift"]
    (tmp_path / "result.json").write_text(json.dumps(raw))
    assert read_result(tmp_path / "result.json").shift == {}


def test_arms_are_compared_under_a_shift() -> None:
    results = [shifted(arm, seed, base + 0.01 * seed) for arm, base in (("none", 0.5), ("l2", 0.6)) for seed in range(8)]
    (contrast,) = compare(results, Criteria(Metric.parse("shift/noise-5/miou"), "none")).contrasts
    assert contrast.difference == pytest.approx(0.1 / 3)
    assert contrast.verdict == "better"
    (contrast,) = compare(results, Criteria(Metric.parse("shift/jpeg-3/iou/car"), "none")).contrasts
    assert contrast.difference == pytest.approx(0.1 / 4)


def test_the_table_of_all_shifts() -> None:
    results = [shifted(arm, seed, base) for arm, base in (("none", 0.48), ("l2", 0.6)) for seed in range(2)]
    table = shift_table(compare(results, Criteria(Metric("test", "miou"), "none")))
    assert table is not None
    rows = [table.cells(row) for row in table.blocks[0].rows]
    assert table.headers == ["shift", "none", "l2"]
    assert rows == [
        ["test", "48.00", "60.00"],
        ["noise-1", "24.00", "30.00"],
        ["noise-5", "16.00", "20.00"],
        ["jpeg-3", "12.00", "15.00"],
        ["night", "9.60", "12.00"],
        ["mean", "16.00", "20.00"],
    ]
    assert "then over the corruptions (mPC, Michaelis et al. 2019); other domains are not in it. No test" in table.legend
    nights = [shifted(arm, 0, 0.5, ("night",)) for arm in ("none", "l2")]
    without = shift_table(compare(nights, Criteria(Metric("test", "miou"), "none")))
    assert without is not None
    assert "corruption" not in without.legend
    dice = shift_table(compare(results, Criteria(Metric("shift/night", "dice"), "none")))
    assert dice is not None
    assert dice.cells(dice.blocks[0].rows[4]) == ["night", "19.60", "22.00"]
    assert shifts_to_table(compare(study({"none": [0.5], "l2": [0.5]}), Criteria(Metric("test", "miou"), "none"))) is None


def test_runs_that_lack_a_shift_are_named_and_their_mean_is_left_out(tmp_path: Path) -> None:
    """A mean over fewer corruptions must not meet one over all."""
    results = [shifted("none", 0, 0.5), shifted("none", 1, 0.5, ("noise-1", "night")), shifted("l2", 0, 0.5), shifted("l2", 1, 0.5)]
    assert results[1].shift["mean"] == results[1].shift["noise-1"]
    write_study(tmp_path, results, record())
    folder = read_folder(tmp_path)
    found = analyse(folder, folder.criteria("shift/mean/miou"))
    assert "none, seed 1: shift/mean/miou is missing; left out" in found.notes
    table = shift_table(found.comparison)
    assert table is not None
    assert "noise-5 of none (1 of 2 runs), jpeg-3 of none (1 of 2 runs), mean of none (1 of 2 runs);" in table.legend
    assert [table.cells(row)[1] for row in table.blocks[0].rows[:3]] == ["50.00", "25.00", "16.67 (n = 1)"]
    assert ">Shifted test images</h2>" in render(found)


def test_the_report_of_a_study_without_shifts_has_no_table_of_them(tmp_path: Path) -> None:
    write_study(tmp_path, study({"none": [0.5, 0.6], "l2": [0.6, 0.7]}), dataclasses.replace(record(), shifts={}))
    assert "Shifted" not in render(analyse(read_folder(tmp_path)))


def test_the_classes_beside_a_metric_under_shift(tmp_path: Path) -> None:
    write_study(tmp_path, [shifted(arm, seed, 0.5) for arm in ("none", "l2") for seed in range(2)], record())
    folder = read_folder(tmp_path)
    for text, split in (("shift/night/miou", "shift/night"), ("shift/mean/miou", "test")):
        classes = analyse(folder, folder.criteria(text)).classes
        assert classes is not None
        assert classes.metric.split == split
