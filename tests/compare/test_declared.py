"""The declared analysis binds: family, seeds, looks, diverged runs, and comparisons that were not declared."""

import csv
import dataclasses
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from seglab import cli
from seglab.compare import (
    Comparison,
    Contrast,
    Criteria,
    Metric,
    analyse,
    compare,
    read_folder,
    to_csv,
    to_frame,
    to_markdown,
    wording,
    write_report,
)
from seglab.compare.numbers.detectable import detectable
from seglab.compare.report import report_name
from seglab.compare.tables.arm_table import detail_table
from seglab.records import Amendment, Analysis, Run, StudyRecord, write_record
from seglab.script.output import text_of
from tests.compare.drawn import study, write_study

BASE = [0.60, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66, 0.67, 0.68, 0.69, 0.70, 0.71]
NOISE = [0.001, -0.001, 0.002, -0.002, 0.0015, -0.0015, 0.0005, -0.0005, 0.001, -0.001, 0.002, -0.002]
DECLARED = Analysis("none", "test/miou", 0.005, 0.05, ("none", "l2"), tuple(range(8)))


def plus(step: float, seeds: int = 8) -> list[float]:
    return [score + step + noise for score, noise in zip(BASE[:seeds], NOISE, strict=False)]


def criteria(declared: Analysis | None = DECLARED, metric: str = "test/miou", margin: float | None = 0.005) -> Criteria:
    return Criteria(Metric.parse(metric), "none", 0.05, margin, declared)


def answer(
    scores: Mapping[str, Sequence[float]], declared: Analysis | None = DECLARED, diverged: Sequence[tuple[str, int]] = ()
) -> Comparison:
    """The scores by arm and seed; NaN for a run that has no result."""
    results = [one for one in study(scores) if not math.isnan(one.test["miou"])]
    return compare(results, criteria(declared), {Run("study", arm, seed): "diverged" for arm, seed in diverged})


def only(found: Comparison) -> Contrast:
    (contrast,) = found.contrasts
    return contrast


# The family


def test_declared_arms_without_results_stay_in_the_family(tmp_path: Path) -> None:
    """Four arms at six seeds, two of them without results: p is 3 · 2/64, as with all four."""
    arms = ("none", "l2", "l1", "hoyer")
    scores = {"none": BASE[:6], "l2": plus(0.02, 6)}
    found = answer(scores, dataclasses.replace(DECLARED, arms=arms, seeds=()))
    assert (only(found).p_holm, only(found).verdict, found.tests) == (0.09375, "inconclusive", 3)
    everyone = answer({**scores, "l1": plus(0.03, 6), "hoyer": plus(0.04, 6)})
    assert {contrast.p_holm for contrast in everyone.contrasts} == {0.09375}
    write_study(tmp_path, study(scores), StudyRecord("study", "none", "test/miou", {}, {arm: {} for arm in arms}))
    assert only(analyse(read_folder(tmp_path)).comparison).p_holm == 0.09375
    assert any("3 × 0.0312 = 0.0938" in note for note in found.notes)


def test_a_dropped_arm_still_counts() -> None:
    declared = dataclasses.replace(DECLARED, dropped_arms=("l1", "hoyer"))
    assert only(answer({"none": BASE[:8], "l2": plus(0.02)}, declared)).p_holm == 3 * 2 / 2**8


def test_an_arm_with_fewer_pairs_is_named_where_nothing_can_be_shown() -> None:
    declared = dataclasses.replace(DECLARED, arms=("none", "l2", "l1", "hoyer"), seeds=())
    found = answer({"none": BASE[:8], "l2": plus(0.02), "l1": plus(0.02, 6), "hoyer": plus(0.02)}, declared)
    assert [note.partition(":")[0] for note in found.notes if "however large" in note] == ["6 pairs (l1) and 3 contrasts"]


# When verdicts are given


def test_there_is_no_verdict_while_a_declared_run_is_open() -> None:
    scores = {"none": BASE[:8], "l2": [*plus(0.02)[:7], math.nan]}
    found = answer(scores)
    assert (only(found).verdict, only(found).reason) == ("no verdict", "interim: 7 of 8 seeds are done in all arms")
    assert (only(found).p, len(only(found).seeds)) == (2 / 2**7, 7)
    assert "! no verdict" not in to_markdown(found)
    assert "- no verdict: interim: 7 of 8 seeds are done in all arms" in to_markdown(found)
    results = [one for one in study(scores) if not math.isnan(one.test["miou"])]
    failed = compare(results, criteria(), {Run("study", "l2", 7): "failed"})
    assert only(failed).verdict == "better"  # a run that has failed with an error is not awaited
    assert only(compare(results, criteria(), {Run("study", "l2", 7): "open"})).verdict == "no verdict"
    assert only(answer({"none": BASE[:8], "l2": plus(0.02)})).verdict == "better"
    three = dataclasses.replace(DECLARED, arms=("none", "l2", "l1"))
    assert only(answer({"none": BASE[:8], "l2": plus(0.02)}, three)).reason == "interim: 0 of 8 seeds are done in all arms"


LOOKS = dataclasses.replace(DECLARED, seeds=tuple(range(12)), looks=(8,))
FIRST = 2 * scipy.stats.norm.sf(scipy.stats.norm.isf(0.025) / math.sqrt(8 / 12))
"""Alpha of the look at 8 of 12 seeds, by hand: 0.0164."""


def test_a_planned_look_spends_a_part_of_alpha_and_its_verdict_stands() -> None:
    assert 4 / 2**8 < FIRST < 8 / 2**8 < 0.05
    early = answer({"none": BASE[:9], "l2": plus(0.02, 9)}, LOOKS)
    assert (only(early).verdict, len(only(early).seeds)) == ("better", 8)
    assert any("8 (0.016), 12 (0.034)" in note and "the look at 8 seeds" in note for note in early.notes)
    turned = answer({"none": BASE, "l2": [*plus(0.02, 8), *[score - 0.2 for score in BASE[8:]]]}, LOOKS)
    assert (only(turned).verdict, only(turned).seeds) == ("better", tuple(range(8)))
    weak = [*plus(0.02, 6), BASE[6] - 0.005, BASE[7] - 0.001]  # p = 8/2⁸ = 0.031
    assert only(answer({"none": BASE[:8], "l2": weak}, LOOKS)).verdict == "inconclusive"
    assert only(answer({"none": BASE[:8], "l2": weak})).verdict == "better"
    waiting = answer({"none": BASE[:7], "l2": plus(0.02, 7)}, LOOKS)
    assert only(waiting).reason == "interim: 7 of 12 seeds are done in all arms; the first look is at 8"


def test_what_a_look_can_show_is_computed_at_its_own_level() -> None:
    scores = [score + step for score, step in zip(BASE[:8], [0.02, -0.015, 0.012, -0.018, 0.007, -0.009, 0.015, -0.01], strict=True)]
    found = answer({"none": BASE[:8], "l2": scores}, LOOKS)
    expected = found.criteria.metric.unit.amount(detectable(only(found).sd_difference, 8, 1, FIRST))
    assert expected != found.criteria.metric.unit.amount(detectable(only(found).sd_difference, 8, 1, 0.05))
    assert only(found).alpha == pytest.approx(FIRST)
    assert f"true difference of {expected} with" in wording.sensitivity(only(found), found)
    assert any("p at most the part of 0.05 that the look spends." in line for line in wording.protocol(found.criteria))


def test_later_seeds_do_not_take_the_verdict_of_a_look_back() -> None:
    """A run of the arm has diverged before the look; the worst score of the study comes after it."""
    first = [*plus(0.02, 3), math.nan, *plus(0.02, 8)[4:]]
    base = [*BASE[:3], 0.55, *BASE[4:8]]  # here the arm has the worst score, and only this
    early = answer({"none": base, "l2": first}, LOOKS, [("l2", 3)])
    assert only(early).verdict == "better"
    late = answer({"none": [*base, *BASE[8:]], "l2": [*first, 0.1, 0.7, 0.7, 0.7]}, LOOKS, [("l2", 3)])
    assert (only(late).verdict, only(late).seeds) == ("better", only(early).seeds)
    assert any("over the 7 seeds of the look that has decided it" in note for note in late.notes)


ALWAYS = dataclasses.replace(DECLARED, always_valid=True)


def test_tests_that_hold_at_any_time_need_a_margin() -> None:
    """A loss without a margin is judged once, by sign flips: their p does not hold at any time."""
    results = study({"none": BASE[:7], "l2": plus(0.02, 7)})
    early = compare(results, criteria(ALWAYS, "val/loss", None))
    assert (only(early).verdict, only(early).reason) == ("no verdict", "interim: 7 of 8 seeds are done in all arms")
    assert not any("any number of seeds" in note for note in early.notes)
    assert any("sign-flip p" in line for line in wording.protocol(early.criteria))
    done = compare(study({"none": BASE[:8], "l2": plus(0.02)}), criteria(ALWAYS, "val/loss", None))
    assert (only(done).verdict, only(done).p) == ("better", 2 / 2**8)


def test_tests_that_hold_at_any_time_are_named_in_the_legend() -> None:
    found = answer({"none": BASE[:8], "l2": plus(0.02)}, ALWAYS)
    text = " ".join((to_markdown(found), *wording.protocol(found.criteria)))
    assert "p: e-process, adjusted" in text
    assert "No arm is called equivalent" in text
    for wrong in ("p: sign flips", "t tests", "Equivalent: within", "equivalent: within", "Under 6 pairs"):
        assert wrong not in text


def test_an_always_valid_p_is_the_wealth_of_bets_on_the_signs() -> None:
    declared = dataclasses.replace(DECLARED, always_valid=True)
    found = answer({"none": BASE[:8], "l2": [*plus(0.02)[:7], math.nan]}, declared)
    differences = np.array(plus(0.02)[:7]) - BASE[:7]
    wealth = [
        np.mean([np.prod(2 / (1 + np.exp(-2 * sign * rate / 0.005 * differences[:n]))) for rate in (0.25, 0.5, 1, 2) for sign in (1, -1)])
        for n in range(1, 8)
    ]
    assert only(found).p == pytest.approx(1 / max(wealth), rel=1e-9)
    assert (only(found).verdict, len(only(found).seeds)) == ("better", 7)
    assert math.isnan(only(found).p_equivalence)
    assert any("after any number of seeds, here 7" in note for note in found.notes)
    same = answer({"none": BASE[:8], "l2": plus(0.0)}, declared)
    assert only(same).verdict == "inconclusive"


def test_seeds_that_were_not_declared_change_no_verdict() -> None:
    """Without the four added seeds the contrast is inconclusive; with them it would be better."""
    weak = [*plus(0.02)[:5], *(score - 0.03 for score in BASE[5:8]), *(score + 0.05 for score in BASE[8:])]
    before = answer({"none": BASE[:8], "l2": weak[:8]})
    after = answer({"none": BASE, "l2": weak}, dataclasses.replace(DECLARED, added_seeds=(8, 9, 10, 11)))
    assert after.contrasts == before.contrasts
    assert [arm.score for arm in after.arms] == [arm.score for arm in before.arms]
    (note,) = [note for note in after.notes if "not declared" in note]
    assert note.startswith(
        "seeds 8–11: not declared before the first result; left out of the table and of every verdict. With them, exploratory"
    )
    assert "over 12 seeds" in note


def test_seeds_that_an_amendment_drops_are_not_said_to_be_new() -> None:
    found = answer({"none": BASE[:8], "l2": plus(0.02)}, dataclasses.replace(DECLARED, seeds=tuple(range(6))))
    assert any(note.startswith("seeds 6, 7: not among the declared seeds; left out of the table") for note in found.notes)


# Diverged runs


def test_better_than_the_survivors_is_not_better() -> None:
    """Three of the arm's runs have diverged; the other five are better by two points."""
    lost = {"none": BASE[:9], "l2": [math.nan] * 3 + plus(0.02, 9)[3:]}
    declared = dataclasses.replace(DECLARED, seeds=tuple(range(9)))
    diverged = [("l2", seed) for seed in range(3)]
    assert only(answer(lost, dataclasses.replace(declared, seeds=()))).verdict == "better"
    found = answer(lost, declared, diverged)
    assert (only(found).verdict, len(only(found).seeds)) == ("inconclusive", 6)
    assert "worst score" in only(found).reason
    assert "Worst" not in wording.sentence(only(found), found)
    assert "but not if each diverged run counts as the worst score" in wording.sentence(only(found), found)
    assert "| diverged |" in to_markdown(found)
    assert "| l2 | 6 | 3/9 |" in to_markdown(found)
    (line,) = [note for note in found.notes if "McNemar" in note]
    assert line.startswith("l2: 3 of 9 runs have diverged, of none 0 of 9 (exact McNemar p = 0.250)")
    assert "diverged" not in to_markdown(answer({"none": BASE[:8], "l2": plus(0.02)}))


def test_a_baseline_that_diverges_does_not_take_the_verdict_away_and_two_make_a_tie() -> None:
    scores = {"none": [math.nan, *BASE[1:8]], "l2": plus(0.02)}
    assert only(answer(scores, diverged=[("none", 0)])).verdict == "better"
    both = {"none": [math.nan, *BASE[1:8]], "l2": [math.nan, *plus(0.02)[1:]]}
    assert only(answer(both, diverged=[("none", 0), ("l2", 0)])).verdict == "better"
    assert only(answer({"none": BASE[:8], "l2": [math.nan, *plus(-0.02)[1:]]}, diverged=[("l2", 0)])).verdict == "worse"
    assert only(answer({"none": BASE[:8], "l2": [*plus(0.0)[:7], math.nan]}, diverged=[("l2", 7)])).verdict == "inconclusive"


def test_an_arm_whose_runs_have_all_diverged_has_a_row() -> None:
    found = answer({"none": BASE[:8], "l2": [math.nan] * 8}, diverged=[("l2", seed) for seed in range(8)])
    assert "| l2 | 0 | 8/8 | – | – |" in to_markdown(found)
    assert (only(found).verdict, only(found).seeds) == ("no verdict", ())
    assert any(note.startswith("l2: 8 of 8 runs have diverged, of none 0 of 8 (exact McNemar p = 0.008)") for note in found.notes)
    frame = to_frame(found)
    assert frame.loc["none", "sd"] == pytest.approx(np.std(BASE[:8], ddof=1))


def test_a_folder_tells_a_diverged_run_from_a_failed_and_an_open_one(tmp_path: Path) -> None:
    record = StudyRecord("study", "none", "test/miou", {}, {"none": {}, "l2": {}}, analysis=DECLARED)
    results = [one for one in study({"none": BASE[:8], "l2": plus(0.02)}) if one.run.arm == "none" or one.run.seed > 3]
    write_study(tmp_path, results, record)
    for seed, error in (
        (0, "NonFiniteLossError: the loss is NaN"),
        (1, "OutOfMemoryError: CUDA"),
        (2, None),
        (3, "NonFiniteLossError: again"),
    ):
        directory = tmp_path / "l2" / f"seed-{seed}"
        directory.mkdir(parents=True)
        if error is not None:
            (directory / "failure.json").write_text(f'{{"error": "{error}"}}')
    study_folder = read_folder(tmp_path)
    assert list(study_folder.endings.values()) == ["diverged", "failed", "open", "diverged"]
    assert [problem for problem in study_folder.problems if problem.startswith("l2: ")] == [
        "l2: seeds 0, 3 have diverged",
        "l2: seed 1 has failed; left out",
        "l2: seed 2 has not finished; left out",
    ]
    assert only(analyse(study_folder).comparison).reason == "interim: 7 of 8 seeds are done in all arms"


@pytest.mark.parametrize(
    ("name", "note", "runs"),
    [
        ("l2 copy", "no arm can have this name; left out. Move the folder out of the study's folder", 16),
        ("l2-old", "l2-old: is no arm of study.json, and its runs have no result; left out", 17),
    ],
)
def test_a_folder_that_is_no_arm_changes_no_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, note: str, runs: int
) -> None:
    """A copy of an arm's folder once refused the whole comparison, or was an arm more in the family of tests."""
    record = StudyRecord("study", "none", "test/miou", {}, {"none": {}, "l2": {}}, analysis=DECLARED)
    write_study(tmp_path / "study", study({"none": BASE[:8], "l2": plus(0.02)}), record)
    alone = analyse(read_folder(tmp_path / "study")).comparison
    (tmp_path / "study" / name / "seed-0").mkdir(parents=True)
    (tmp_path / "study" / name / "seed-0" / "failure.json").write_text('{"error": "NonFiniteLossError: the loss is NaN"}')
    found = analyse(read_folder(tmp_path / "study")).comparison
    assert (found.arms, found.contrasts, found.tests) == (alone.arms, alone.contrasts, 1)
    assert [line.endswith(note) for line in found.notes] == [True]
    cli.read(["status", str(tmp_path / "study")])
    assert f"16 of {runs} runs done" in capsys.readouterr().out


# What was not declared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record = StudyRecord("study", "none", "test/miou", {}, {"none": {}, "l2": {"strength": 1}}, analysis=DECLARED)
    write_study(tmp_path / "study", study({"none": BASE[:8], "l2": plus(0.02)}), record)
    return tmp_path / "study"


@pytest.mark.parametrize(
    ("flags", "name", "what"),
    [
        (("--metric", "val/loss"), "report-val-loss.html", "metric val/loss instead of test/miou"),
        (("--baseline", "l2"), "report-test-miou-against-l2.html", "baseline l2 instead of none"),
    ],
)
def test_another_comparison_is_exploratory_and_leaves_the_report_alone(
    flags: tuple[str, ...], name: str, what: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.read(["compare", str(folder)]) == 0
    assert "exploratory" not in capsys.readouterr().out
    declared = (folder / "report.html").read_bytes()
    assert cli.read(["compare", str(folder), *flags]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "(exploratory: not the declared comparison)" in text
    assert " verdict " not in text.partition(" none ")[0]
    assert what in text
    assert (folder / "report.html").read_bytes() == declared
    assert "Exploratory: not the declared comparison" in (folder / name).read_text()


def test_csv_says_whether_a_comparison_is_exploratory_and_how_often_the_analysis_was_amended(folder: Path) -> None:
    study_folder = read_folder(folder)
    record = study_folder.record
    assert record is not None
    amended = dataclasses.replace(record, amendments=(Amendment("2026-11-29", "typo", DECLARED, DECLARED, 16),))
    found = analyse(dataclasses.replace(study_folder, record=amended), study_folder.criteria("test/dice"))
    rows = list(csv.DictReader(io.StringIO(text_of("csv", found, classes=False))))
    assert {(row["exploratory"], row["amendments"]) for row in rows} == {("true", "1")}
    (first, *_) = csv.DictReader(io.StringIO(to_csv(analyse(study_folder).comparison)))
    assert (first["exploratory"], first["amendments"]) == ("false", "")


def test_each_exploratory_comparison_has_its_own_file(folder: Path) -> None:
    of = read_folder(folder).criteria
    assert report_name(of("test/iou/car")) == "report-test-iou-car.html"
    assert report_name(of("test/iou/a/b<c")) == "report-test-iou-a-b-c-b1599fd0.html"
    assert report_name(of(margin=0.02)) == "report-test-miou-margin-0.02.html"
    names = ("車", "樹", "Bäume", "Böume", "x" * 300, "x" * 301, "a b", "a-b", "a/b", "a<b", "a\nb", "a", "a\n")
    assert len({report_name(of(f"test/iou/{name}")) for name in names}) == len(names)
    assert len(report_name(of("test/iou/" + "x" * 300))) < 200
    assert report_name(of("val/loss", "l2", 0.01, 0.1)) == "report-val-loss-against-l2-margin-0.1-alpha-0.01.html"


def test_what_equals_the_declared_analysis_is_the_declared_comparison(folder: Path) -> None:
    study_folder = read_folder(folder)
    same = study_folder.criteria("test/miou", "none", 0.05, 0.005)
    assert (same, same.exploratory, report_name(same)) == (study_folder.criteria(), False, "report.html")
    assert study_folder.criteria("val/loss").margin is None


def test_an_amendment_is_shown_for_ever(folder: Path) -> None:
    record = read_folder(folder).record
    assert record is not None
    after = dataclasses.replace(DECLARED, metric="test/dice", added_seeds=(8, 9))
    amended = Amendment("2026-11-29T12:00:00+00:00", "the reviewer <asked>", DECLARED, after, 16)
    write_record(folder, dataclasses.replace(record, analysis=after, metric="test/dice", amendments=(amended,)))
    found = analyse(read_folder(folder))
    line = (
        "amended on 2026-11-29, with 16 finished runs: metric: test/miou → test/dice; exploratory seeds: none → 8, 9. "
        "Reason: the reviewer <asked>"
    )
    assert found.comparison.notes[0] == line
    assert f"- {line}".replace("<", "\\<") in to_markdown(found.comparison)
    assert line.replace("<asked>", "&lt;asked&gt;") in write_report(found).read_text()
    assert read_folder(folder).criteria().metric == Metric("test", "dice")


def test_a_cost_gets_a_verdict_only_if_it_is_the_declared_metric() -> None:
    results = [
        dataclasses.replace(one, cost={"seconds": 10.0 + (one.run.arm == "l2")}) for one in study({"none": BASE[:8], "l2": plus(0.0)})
    ]
    asked = only(compare(results, criteria(metric="cost/seconds", margin=None)))
    assert (asked.verdict, asked.difference, asked.p) == ("no verdict", 1.0, 2 / 2**8)
    assert "declares it as its metric" in asked.reason
    declared = dataclasses.replace(DECLARED, metric="cost/seconds", margin=None)
    assert only(compare(results, criteria(declared, "cost/seconds", None))).verdict == "worse"


# What could have been seen


def test_an_inconclusive_verdict_says_what_could_have_been_seen() -> None:
    """The factor of the audit's table for 8 pairs and one contrast is 1.19."""
    scores = [score + step for score, step in zip(BASE[:8], [0.02, -0.015, 0.012, -0.018, 0.007, -0.009, 0.015, -0.01], strict=True)]
    found = answer({"none": BASE[:8], "l2": scores})
    text = wording.sensitivity(only(found), found)
    sd = float(np.std(np.array(scores) - BASE[:8], ddof=1))
    shown = float(text.partition("true difference of ")[2].partition(" points")[0])
    assert shown == pytest.approx(119 * sd, abs=1.5 * sd)
    upper = float(text.partition("80 % power (")[2].partition(" points")[0])
    assert upper / shown == pytest.approx(math.sqrt(7 / scipy.stats.chi2.ppf(0.2, 7)), rel=0.01)
    needed = int(text.partition("needs about ")[2].partition(" seeds")[0])
    assert needed == pytest.approx((scipy.stats.norm.isf(0.025) + scipy.stats.norm.isf(0.2)) ** 2 * (sd / 0.005) ** 2, rel=0.05)
    assert f"- l2: {text}" in to_markdown(found)  # it begins with a number
    assert text in wording.sentence(only(found), found)
    assert wording.sensitivity(only(answer({"none": BASE[:8], "l2": plus(0.02)})), found) == ""


def test_skewed_differences_are_noted() -> None:
    scores = [score + step for score, step in zip(BASE[:8], [0.001, 0.002, 0.001, 0.002, 0.001, 0.002, 0.001, 0.05], strict=True)]
    found = answer({"none": BASE[:8], "l2": scores})
    skewness = scipy.stats.skew(np.array(scores) - BASE[:8])
    assert any(f"skewed (skewness {skewness:.1f})" in note for note in found.notes)
    assert not any("skew" in note for note in answer({"none": BASE[:8], "l2": plus(0.02)}).notes)


def test_the_interval_excludes_zero_exactly_if_p_is_at_most_alpha() -> None:
    generator = np.random.default_rng(4)
    for n in (6, 8, 10):
        for _ in range(40):
            scores = {"none": BASE[:n], "l2": [score + step for score, step in zip(BASE, generator.normal(0.007, 0.01, n), strict=False)]}
            contrast = only(answer(scores, None))
            assert (contrast.low > 0 or contrast.high < 0) == (contrast.p <= 0.05)
            means = (
                sorted(
                    np.mean(subset)
                    for size in range(1, n + 1)
                    for subset in itertools.combinations(np.array(scores["l2"]) - scores["none"], size)
                )
                if n == 6
                else []
            )
            assert not means or (contrast.low, contrast.high) == pytest.approx((means[0], means[-1]))


def test_the_legend_says_what_holds(folder: Path) -> None:
    found = analyse(read_folder(folder))
    legend = "over seeds, on this split and this test set"
    assert legend in to_markdown(found.comparison)
    page = write_report(found).read_text()
    assert f"They hold {legend}." in page
    assert "Declared before the first result: test/miou against none, margin 0.005, alpha 0.05, 2 arms, 8 seeds" in page


def test_the_tables_of_the_classes_are_over_the_compared_seeds(tmp_path: Path) -> None:
    """The score of seed 6 is not declared, and would move every mean."""
    arms = ("none", "l2")
    declared = dataclasses.replace(DECLARED, seeds=tuple(range(6)))
    record = StudyRecord("study", "none", "test/miou", {}, {arm: {} for arm in arms}, analysis=declared)
    write_study(tmp_path, study({"none": [*BASE[:6], 0.1], "l2": plus(0.02, 7)}), record)
    found = analyse(read_folder(tmp_path))
    assert found.classes is not None
    assert {cell.n for cell in found.classes.cells} == {6}
    assert [cell.difference for cell in found.classes.cells] == pytest.approx([only(found.comparison).difference] * 2)
    page = write_report(found).read_text(encoding="utf-8")
    assert page.count(f"<td>{100 * np.mean(BASE[:6]):.1f}</td>") == 2  # the baseline in both classes


def test_the_level_of_many_simultaneous_intervals_is_not_printed_as_100_percent() -> None:
    for tests, level in ((1, "95 %"), (3, "98.3 %"), (120, "99.958 %")):
        found = dataclasses.replace(answer({"none": BASE[:8], "l2": plus(0.02)}), tests=tests)
        assert any(column.header == f"simultaneous [{level}]" for column in detail_table(found).columns)
