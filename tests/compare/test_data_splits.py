"""A study whose seeds have their own data splits uses the corrected t test only, and refuses what it does not allow."""

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from seglab.compare import Criteria, DataSet, Metric, analyse, compare, compare_sets, image_findings, read_comparison, read_folder, to_json
from seglab.compare.forms.latex import to_latex
from seglab.compare.numbers.resampled import resampled_detectable, resampled_p, splits_needed
from seglab.compare.report import render
from seglab.compare.sets.settings import settings_notes
from seglab.compare.splits import DataSplits, data_splits
from seglab.compare.tables.arm_table import detail_table
from seglab.records import Analysis, Run, StudyRecord
from tests.compare.drawn import study, write_study

SPLITS = DataSplits(5, train=64, val=16, test=20)
CRITERIA = Criteria(Metric.parse("test/miou"), "none", splits=SPLITS)
MIOU_ON_ONE_SPLIT = Criteria(Metric.parse("test/miou"), "none")
RECORD = StudyRecord(
    "study",
    "none",
    "test/miou",
    {"data": {"folds": {"folds": 5, "train": 64, "val": 16, "test": 20}, "splits": {}}},
    {"none": {}, "l2": {}, "l1": {}},
    factors=(),
    analysis=Analysis("none", "test/miou", 0.005, 0.05, ("none", "l2", "l1"), tuple(range(10))),
)
BASE = np.random.default_rng(0).normal(0.6, 0.02, 10)
SCORES = {
    "none": BASE.tolist(),
    "l2": (BASE + 0.03 + np.random.default_rng(1).normal(0, 0.01, 10)).tolist(),
    "l1": (BASE + np.random.default_rng(2).normal(0, 0.01, 10)).tolist(),
}


def folder(place: Path) -> Path:
    write_study(place / "study", study(SCORES), RECORD)
    return place / "study"


def test_p_interval_and_equivalence_are_those_of_the_corrected_t_test() -> None:
    found = {contrast.arm: contrast for contrast in compare(study(SCORES), CRITERIA).contrasts}
    for arm, contrast in found.items():
        d = np.round(np.array(SCORES[arm]) - BASE, 12)
        error = np.std(d, ddof=1) * math.sqrt(1 / 10 + 20 / 64)
        assert contrast.p == pytest.approx(2 * scipy.stats.t.sf(abs(d.mean()) / error, 9))
        half = scipy.stats.t.ppf([0.975, 1 - 0.025 / 2], 9) * error
        assert (contrast.low, contrast.high_simultaneous) == pytest.approx((d.mean() - half[0], d.mean() + half[1]))
        assert contrast.p_equivalence == pytest.approx(scipy.stats.t.sf((0.005 - abs(d.mean())) / error, 9))
    smallest, largest = sorted(contrast.p for contrast in found.values())
    assert found["l2"].p_holm == pytest.approx(2 * smallest)
    assert found["l1"].p_holm == pytest.approx(max(2 * smallest, largest))
    assert found["l2"].verdict == "better"
    assert found["l1"].verdict == "inconclusive"


def test_the_share_is_that_of_the_split_that_is_scored() -> None:
    assert (CRITERIA.test_share, dataclasses.replace(CRITERIA, metric=Metric.parse("val/miou")).test_share) == (20 / 64, 16 / 64)


def test_bouckaert_and_frank_have_the_same_variance() -> None:
    """Their factor for r repetitions of k folds is s²/(kr) (1 + r k/(k - 1)), for test folds of n/k.

    The training set is the rest.
    """
    folds, repetitions = 10, 3
    d = np.random.default_rng(4).normal(0.5, 1, folds * repetitions)
    t = d.mean() / math.sqrt(np.var(d, ddof=1) / d.size * (1 + repetitions * folds / (folds - 1)))
    assert resampled_p(d, 1 / (folds - 1)) == pytest.approx(2 * scipy.stats.t.sf(abs(t), d.size - 1))


def test_two_equal_differences_are_no_verdict() -> None:
    few = compare(study({"none": [0.5, 0.6, 0.7], "l2": [0.6, 0.7, 0.8]}), CRITERIA).contrasts[0]
    assert (few.verdict, few.reason) == ("no verdict", "3 of the 5 data splits needed")


def test_the_folder_says_that_there_are_splits_whatever_criteria_are_given(tmp_path: Path) -> None:
    read = read_folder(folder(tmp_path))
    assert data_splits(read.record) == SPLITS
    assert data_splits(None) is None
    for criteria in (None, Criteria(Metric.parse("test/miou"), "none")):
        assert analyse(read, criteria).comparison.contrasts[0].p == compare(study(SCORES), CRITERIA).contrasts[0].p


def test_tables_report_and_forms_say_what_the_numbers_hold_for(tmp_path: Path) -> None:
    found = analyse(read_folder(folder(tmp_path)))
    page = re.sub(r"\s+", " ", render(found))
    for text in (
        "over seeds and data splits, for trainings on about 64 images of this kind",
        "corrected resampled t test (Nadeau &amp; Bengio 2003)",
        "seed s tests on fold s mod 5 of division s // 5",
        "over 10 seeds and data splits",
        "each seed is tested on other images",
    ):
        assert text in page, text
    for text in ("sign-flip", "sign flips, adjusted", "on this split", "Wilson"):
        assert text not in page, text
    assert "P(better)" in [column.header for column in detail_table(found.comparison).columns]
    assert "corrected t test" in to_latex(found.comparison)
    (tmp_path / "c.json").write_text(to_json(found))
    assert read_comparison(tmp_path / "c.json") == found.comparison


def test_images_are_not_resampled(tmp_path: Path) -> None:
    comparison = compare(study(SCORES), CRITERIA)
    found = image_findings(tmp_path, study(SCORES), comparison)
    assert not found.intervals
    assert "each seed is tested on other images" in found.problems[0]


def test_class_differences_are_corrected_too(tmp_path: Path) -> None:
    classes = analyse(read_folder(folder(tmp_path))).classes
    assert classes is not None
    cell = next(cell for cell in classes.cells if cell.arm == "l2")  # drawn results have one score for all classes
    contrast = compare(study(SCORES), CRITERIA).contrasts[0]
    assert (cell.p, cell.low, cell.high) == pytest.approx((contrast.p, contrast.low, contrast.high))


def test_counts_of_diverged_runs_have_no_exact_p() -> None:
    runs = {"none": SCORES["none"], "l2": SCORES["l2"][:9]}
    notes = compare(study(runs), CRITERIA, {Run("study", "l2", 9): "diverged"}).notes
    assert any("1 of 10 runs have diverged" in note and "McNemar" not in note for note in notes)


def test_over_several_data_sets_there_is_no_bootstrap_over_overlapping_splits() -> None:
    sets = [DataSet(f"set{place}", compare(study(SCORES), criteria)) for place, criteria in enumerate([CRITERIA] + 5 * [MIOU_ON_ONE_SPLIT])]
    found = compare_sets(sets)
    assert math.isnan(found.arms[0].mean.low)
    assert math.isfinite(found.arms[0].mean.value)
    assert math.isfinite(found.arms[0].p)
    assert any(note.startswith("set0: each seed has data splits of its own") for note in found.notes)
    other = dataclasses.replace(RECORD, shared={"data": {"folds": {"folds": 5, "train": 10, "val": 2, "test": 3}}})
    assert settings_notes({"one": RECORD, "two": other}) == []


def exchangeable(effect: float, share: float, size: tuple[int, int], seed: int) -> np.ndarray:
    """Return (studies, J) normal differences of variance 1 and mean `effect`.

    Any two differences of a study have the correlation n_test/(n_test + n_train).
    """
    generator, correlation = np.random.default_rng(seed), share / (1 + share)
    common = generator.normal(size=(size[0], 1)) * math.sqrt(correlation)
    drawn: np.ndarray = effect + common + generator.normal(size=size) * math.sqrt(1 - correlation)
    return drawn


@pytest.mark.parametrize("splits", [5, 10])
def test_the_detectable_difference_is_shown_with_80_percent_power(splits: int) -> None:
    """The standard deviation that a study sees is √(1 - correlation): that of the differences given the data."""
    share = 0.25
    sd = math.sqrt(1 - share / (1 + share))
    effect = resampled_detectable(sd, splits, 0.05, share)
    shown = resampled_p(exchangeable(effect, share, (20_000, splits), 3), share) <= 0.05
    false = resampled_p(exchangeable(0.0, share, (20_000, splits), 4), share) <= 0.05
    assert shown.mean() == pytest.approx(0.80, abs=0.01)
    assert false.mean() == pytest.approx(0.05, abs=0.006)


def test_more_divisions_of_the_same_images_reach_a_limit() -> None:
    needed = splits_needed(0.01, 0.02, 5, 0.05, 0.25)
    assert needed is not None
    assert needed % 5 == 0
    assert resampled_detectable(0.01, needed, 0.05, 0.25) <= 0.02 < resampled_detectable(0.01, needed - 5, 0.05, 0.25)
    assert splits_needed(0.01, 0.01, 5, 0.05, 0.25) is None
    assert math.isnan(resampled_detectable(0.01, 1, 0.05, 0.25))


def test_runs_on_different_test_images_without_data_splits_are_refused(tmp_path: Path) -> None:
    """A lost study.json, or criteria of one's own, must not turn overlapping splits into independent seeds."""
    found = [
        dataclasses.replace(
            one, per_class={"test": {"iou": (0.5, 0.5), "frequency": (0.8 - 0.01 * one.run.seed, 0.2 + 0.01 * one.run.seed)}}
        )
        for one in study(SCORES)
    ]
    with pytest.raises(ValueError, match="were tested on different images"):
        compare(found, MIOU_ON_ONE_SPLIT)
    assert compare(found, CRITERIA).contrasts
    write_study(tmp_path / "study", found, RECORD)
    (tmp_path / "study" / "study.json").unlink()
    with pytest.raises(ValueError, match=r"restore the study\.json"):
        analyse(read_folder(tmp_path / "study"), MIOU_ON_ONE_SPLIT)
