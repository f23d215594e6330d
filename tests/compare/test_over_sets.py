"""One statement over several data sets, checked by hand, by scipy and by closed testing.

`seglab compare` of several folders is checked too.
"""

import csv
import dataclasses
import io
import json
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from matplotlib.container import ErrorbarContainer

from seglab import cli
from seglab.compare import Criteria, DataSet, Metric, OverSets, analyse_sets, compare, compare_sets, plot_sets, read_sets
from seglab.compare.numbers import sets as estimates
from seglab.compare.numbers.looks import Ending
from seglab.compare.numbers.statistics import Floats
from seglab.compare.sets import wording
from seglab.compare.sets.page import page_name
from seglab.records import Analysis, Run, StudyRecord, read_result, write_result
from tests.compare.drawn import result, study, write_study

MIOU = Criteria(Metric.parse("test/miou"), "none")
Scores = Mapping[str, Sequence[float]]


def data_set(name: str, scores: Scores, criteria: Criteria = MIOU, waits: str = "") -> DataSet:
    return DataSet(name, compare(study(scores), criteria), waits)


def drawn(k: int, effects: Mapping[str, float], n: int = 6, seed: int = 0) -> list[dict[str, list[float]]]:
    """Scores of `none` and of arms with these mean effects on k data sets, under n seeds."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(k):
        base = generator.normal(0.6, 0.02, n)
        arms = {arm: list(base + effect + generator.normal(0, 0.003, n)) for arm, effect in effects.items()}
        found.append({"none": list(base), **arms})
    return found


def over(scores: Sequence[Scores], criteria: Criteria = MIOU) -> OverSets:
    return compare_sets([data_set(f"set{place}", own, criteria) for place, own in enumerate(scores)])


def differences(scores: Scores, arm: str) -> Floats:
    return np.asarray(np.array(scores[arm]) - np.array(scores["none"]), dtype=np.float64)


def test_the_numbers_by_hand() -> None:
    """Data sets with 2 and 4 seeds count equally: the mean of 0.03 and -0.01 is 0.01.

    The mean of all 6 differences would be 0.00333.
    """
    scores = [
        {"none": [0.50, 0.60], "l2": [0.52, 0.64]},
        {"none": [0.70, 0.71, 0.72, 0.73], "l2": [0.70, 0.70, 0.70, 0.72]},
    ]
    found = over(scores)
    arm = found.arms[0]
    assert [own.contrast.difference for own in arm.sets] == pytest.approx([0.03, -0.01])
    assert arm.mean.value == pytest.approx(0.01)
    assert arm.median.value == pytest.approx(0.01)
    assert arm.interquartile_mean.value == pytest.approx((0.02 - 0.01 - 0.01 + 0.0) / 4)  # of -.02 -.01 -.01 0 .02 .04, the middle four
    # .52 beats .50 alone, .64 beats both: 3 of 4. .70 ties once (three times), .72 beats two and ties once: (3 ·
    # ½ + 2½) of 16.
    assert [own.improvement for own in arm.sets] == pytest.approx([3 / 4, 4 / 16])
    assert arm.improvement.value == pytest.approx((3 / 4 + 4 / 16) / 2)
    assert (arm.verdict, arm.p) == ("no verdict", 1.0)  # 0.03 and -0.01: all four flips of two signs, two of them smaller
    assert arm.reason.startswith("2 of the 6 data sets needed")


def test_the_interval_is_the_bootstrap_of_scipy() -> None:
    """`scipy.stats.bootstrap` draws from each of several samples separately: the bootstrap stratified by data set."""
    scores = drawn(3, {"l2": 0.01}, n=8)
    arm = over(scores).arms[0]
    own = [differences(each, "l2") for each in scores]

    def mean_of_means(*samples: Floats, axis: int) -> Floats:
        return np.asarray(np.mean([sample.mean(axis=axis) for sample in samples], axis=0))

    theirs = scipy.stats.bootstrap(own, mean_of_means, n_resamples=9999, method="percentile", rng=np.random.default_rng(3))
    low, high = theirs.confidence_interval
    assert (arm.mean.low, arm.mean.high) == pytest.approx((low, high), abs=0.06 * (high - low))
    assert arm.mean.value == pytest.approx(np.mean([each.mean() for each in own]))


def closed(p: Sequence[float]) -> list[float]:
    """Return p adjusted by the closed test of Bonferroni tests (Marcus et al. 1976), which is Holm's: the largest p of
    all families with it.
    """
    families = [[place for place in range(len(p)) if chosen >> place & 1] for chosen in range(1, 2 ** len(p))]
    tested = [(family, min(1.0, len(family) * min(p[place] for place in family))) for family in families]
    return [max(own for family, own in tested if place in family) for place in range(len(p))]


def test_the_test_over_data_sets_is_that_of_scipy_and_holm_the_closed_test() -> None:
    scores = drawn(7, {"l2": 0.02, "l1": 0.0, "tv": -0.001})
    found = over(scores)
    p = []
    for arm in found.arms:
        means = np.array([differences(each, arm.arm).mean() for each in scores])
        flips = [abs(np.dot(signs, means)) >= abs(means.sum()) - 1e-12 for signs in product((1, -1), repeat=7)]
        theirs = scipy.stats.permutation_test((means,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
        p.append(float(np.mean(flips)))
        assert arm.p == pytest.approx(p[-1])
        assert arm.p == pytest.approx(theirs)
        assert (arm.low_new > 0 or arm.high_new < 0) == (arm.p <= 0.05)
    assert [arm.p_holm for arm in found.arms] == pytest.approx(closed(p))
    assert [arm.verdict for arm in found.arms] == ["better", "inconclusive", "inconclusive"]
    assert found.arms[0].p_holm == pytest.approx(3 * 2 / 2**7)


def test_six_data_sets_give_a_verdict_on_one_arm_and_none_on_two() -> None:
    five, six, two = over(drawn(5, {"l2": 0.02})), over(drawn(6, {"l2": 0.02})), over(drawn(6, {"l2": 0.02, "l1": 0.02}))
    assert (five.arms[0].verdict, six.arms[0].verdict, two.arms[0].verdict) == ("no verdict", "better", "inconclusive")
    assert "No verdict over data sets: 5 of the 6 data sets needed" in wording.sentence(five.arms[0], five)
    assert "Over data sets l2 is better than none: adjusted p = 0.031 over 6 data sets" in wording.sentence(six.arms[0], six)
    assert not six.notes
    assert two.notes == (
        "6 data sets and 2 contrasts: the smallest p after Holm is 0.0625, so no difference over data sets can be shown at 0.05, however large; "
        "7 data sets could",
    )


def test_a_smaller_loss_is_better_and_a_gap_has_no_better_end() -> None:
    scores = drawn(6, {"l2": 0.02})  # of mIoU; val/loss is 1 - mIoU
    loss = over(scores, Criteria(Metric.parse("val/loss"), "none")).arms[0]
    score = over(scores).arms[0]
    assert loss.verdict == "better"
    assert loss.mean.value == pytest.approx(-score.mean.value)
    assert loss.improvement.value == pytest.approx(score.improvement.value)
    gap = Criteria(Metric.parse("gap/miou"), "none")
    gaps = []
    for place, own in enumerate(scores):
        results = [dataclasses.replace(each, train={"miou": 2 * each.val["miou"]}) for each in study(own)]
        gaps.append(DataSet(str(place), compare(results, gap)))
    found = compare_sets(gaps).arms[0]
    assert (found.verdict, str(found.improvement.value)) == ("different", "nan")


def test_few_pairs_have_no_interval_and_an_arm_without_pairs_no_mean() -> None:
    found = over([{"none": [0.5], "l2": [0.6]}, {"none": [0.5, 0.6], "l2": [0.6, 0.8]}]).arms[0]
    assert found.mean.value == pytest.approx((0.1 + 0.15) / 2)
    assert np.isnan([found.mean.low, found.mean.high, found.median.low, found.improvement.high]).all()
    four, five = (over(drawn(2, {"l2": 0.01}, n=n)).arms[0] for n in (4, 5))
    assert (np.isfinite(four.mean.low), np.isfinite(five.mean.low), np.isfinite(five.improvement.low)) == (False, True, True)
    lacking = Criteria(MIOU.metric, "none", declared=Analysis("none", "test/miou", 0.005, 0.05, ("none", "l2"), ()))
    sets = [data_set("a", {"none": [0.5, 0.6], "l2": [0.6, 0.8]}, lacking), data_set("b", {"none": [0.5, 0.6]}, lacking)]
    answer = compare_sets(sets)
    assert answer.arms[0].reason == "no pair of runs on b"
    assert wording.sentence(answer.arms[0], answer) == "l2 against none has no mean over the 2 data sets: no pair of runs on b."


def test_a_verdict_has_to_hold_with_the_worst_score_of_a_diverged_run() -> None:
    scores = drawn(6, {"l2": 0.002}, seed=4)
    sets = [data_set(str(place), own) for place, own in enumerate(scores)]
    assert compare_sets(sets).arms[0].verdict == "better"
    endings: dict[Run, Ending] = {Run("study", "l2", 5): "diverged"}
    results = [each for each in study(scores[0]) if each.run != Run("study", "l2", 5)]
    sets[0] = DataSet("0", compare(results, MIOU, endings))
    arm = compare_sets(sets).arms[0]
    assert arm.p_holm <= 0.05
    assert (arm.verdict, arm.reason) == (
        "inconclusive",
        "the complete pairs show it, but not if each diverged run counts as the worst score of the study",
    )
    both: dict[Run, Ending] = {Run("study", name, 5): "diverged" for name in ("none", "l2")}
    results = [each for each in study(scores[0]) if each.run.seed != 5]
    sets[0] = DataSet("0", compare(results, MIOU, both))  # a pair in which both diverged differs by 0
    assert compare_sets(sets).arms[0].verdict == "better"


def test_later_seeds_do_not_take_the_worst_case_of_a_look_away() -> None:
    """A study has decided at its look at 8 of 12 seeds. The score of a later seed is not the worst of this look."""
    declared = Analysis("none", "test/miou", 0.005, 0.05, ("none", "l2"), tuple(range(12)), looks=(8,))
    base = [0.62, 0.63, 0.64, 0.65, 0.66, 0.601, 0.60, 0.67]
    scores = {"none": [*base, 0.05, 0.6, 0.6, 0.6], "l2": [*(score + 0.02 for score in base), 0.6, 0.6, 0.6, 0.6]}
    gone = Run("study", "l2", 5)
    compared = compare(
        [each for each in study(scores) if each.run != gone], dataclasses.replace(MIOU, declared=declared), {gone: "diverged"}
    )
    assert (compared.contrasts[0].verdict, len(compared.contrasts[0].seeds), len(compared.seeds)) == ("better", 7, 12)
    sets = [DataSet("0", compared), *(data_set(str(place), own) for place, own in enumerate(drawn(5, {"l2": 0.02}, seed=4), start=1))]
    assert compare_sets(sets).arms[0].verdict == "better"


def test_there_is_no_verdict_while_a_study_waits() -> None:
    scores = drawn(6, {"l2": 0.02})
    sets = [
        data_set(str(place), own, waits="interim: 6 of 8 seeds are done in all arms" if place == 2 else "")
        for place, own in enumerate(scores)
    ]
    arm = compare_sets(sets).arms[0]
    assert (arm.verdict, arm.reason) == ("no verdict", "2: interim: 6 of 8 seeds are done in all arms")


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (data_set("b", {"none": [0.5, 0.6], "l1": [0.5, 0.6]}), "a has the arms none, l2, b has none, l1: expected the same arms"),
        (
            data_set("b", {"none": [0.5], "l2": [0.6]}, Criteria(Metric.parse("val/miou"), "none")),
            "a declares metric test/miou, b metric val/miou",
        ),
        (data_set("b", {"none": [0.5], "l2": [0.6]}, Criteria(MIOU.metric, "l2")), "a declares baseline none, b baseline l2"),
        (data_set("b", {"none": [0.5], "l2": [0.6]}, Criteria(MIOU.metric, "none", 0.01)), "a declares alpha 0.05, b alpha 0.01"),
        (data_set("a", {"none": [0.5], "l2": [0.6]}), "the data sets a, a: expected another name for each"),
    ],
)
def test_studies_that_differ_are_refused(other: DataSet, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        compare_sets([data_set("a", {"none": [0.5, 0.6], "l2": [0.5, 0.6]}), other])


def test_the_forest_plot_shows_each_difference_and_the_mean() -> None:
    found = over(drawn(3, {"l2": 0.02, "l1": 0.0}))
    ax = plot_sets(found)
    drawn_at = [float(bars[0].get_xdata()[0]) for bars in ax.containers if isinstance(bars, ErrorbarContainer)]
    expected = [value for arm in found.arms for value in (*(own.contrast.difference for own in arm.sets), arm.mean.value)]
    assert drawn_at == pytest.approx([100 * value for value in expected])
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        *("set0", "set1", "set2", "l2, mean"),
        *("set0", "set1", "set2", "l1, mean"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("n", "low", "high"), [(5, 0.87, 0.91), (10, 0.91, 0.94)])
def test_the_interval_covers_as_often_as_the_page_says(n: int, low: float, high: float) -> None:
    generator = np.random.default_rng(7)
    covered = []
    for _ in range(4000):
        found = estimates.mean_over_sets([generator.normal(0, 1, n) for _ in range(3)])
        covered.append(found.low <= 0 <= found.high)
    assert low < np.mean(covered) < high


ARM = {"regularizer": {"class": "seglab.L2", "strength": 0.001}, "network": {"class": "Net", "config": {"classes": 2}, "structure": "s"}}


def record(name: str, images: str = "", **changes: object) -> StudyRecord:
    """A record of a study on a data set of its own."""
    shared = {"data": {"source": {"class": name}, "splits": {"test": {"samples": 6, "files": images or name}}}, "epochs": 30}
    arm = {**ARM, **{key: value for key, value in changes.items() if key != "epochs"}}
    return StudyRecord(name, "none", "test/miou", {**shared, "epochs": changes.get("epochs", 30)}, {"none": {}, "l2": arm})


def write(root: Path, name: str, known: StudyRecord, classes: tuple[str, ...] = ("road", "car")) -> Path:
    base = [0.60 + 0.01 * seed for seed in range(6)]
    results = [
        result(arm, seed, score + plus, study=name, classes=classes)
        for arm, plus in (("none", 0), ("l2", 0.02))
        for seed, score in enumerate(base)
    ]
    write_study(root / name, results, known)
    return root / name


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    cells = record("cells", network={"class": "Net", "config": {"classes": 3}, "structure": "t"}, epochs=20)
    return [write(tmp_path, "roads", record("roads")), write(tmp_path, "cells", cells, classes=("a", "b", "[c]"))]


def said(capfd: pytest.CaptureFixture[str], *given: object) -> tuple[int, str]:
    code = cli.read(["compare", *map(str, given)])
    printed = capfd.readouterr()
    return code, " ".join((printed.out + printed.err).split())


def test_the_command_prints_one_table_and_writes_a_page_of_its_own(folders: list[Path], capfd: pytest.CaptureFixture[str]) -> None:
    assert said(capfd, folders[0])[0] == 0
    own = (folders[0] / "report.html").read_bytes()
    code, text = said(capfd, *folders)
    page = folders[0].parent / "report-sets-roads-cells.html"
    assert (code, "2 data sets: test mIoU against none" in text, f"report: {page}" in text) == (0, True, True)
    assert "roads 6 +2.00 [+2.00, +2.00]" in text
    assert "mean of 2 12 +2.00 [+2.00, +2.00]" in text
    assert "! the studies differ in epochs: 30 (roads), 20 (cells)" in text
    assert "By data set: better on roads, cells. No verdict over data sets: 2 of the 6 data sets needed" in text
    shown = page.read_text(encoding="utf-8")
    assert all(
        expected in shown for expected in ("<svg", "mean of 2", "No verdict over data sets", "the studies differ in epochs", "--ground")
    )
    assert (folders[0] / "report.html").read_bytes() == own
    assert sorted(path.name for path in folders[0].parent.iterdir()) == ["cells", "report-sets-roads-cells.html", "roads"]


def test_another_metric_is_exploratory_and_has_another_page(folders: list[Path], capfd: pytest.CaptureFixture[str]) -> None:
    code, text = said(capfd, *folders, "--metric", "val/loss")
    assert (code, "against none (exploratory: not the declared comparison)" in text) == (0, True)
    assert (folders[0].parent / "report-sets-roads-cells-val-loss.html").exists()


def test_a_long_choice_of_data_sets_has_a_short_page_name() -> None:
    found = over(drawn(2, {"l2": 0.0}))
    names = [f"a-rather-long-name-{place}" for place in range(20)]
    assert len(page_name(names, found)) < 120
    assert page_name(names, found) != page_name(names[:-1], found)


def test_other_forms(folders: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = analyse_sets(read_sets(folders))
    target = tmp_path / "sets.json"
    code, text = said(capfd, *folders, "--output", target)
    assert (code, f"json: {target}" in text, "! the studies differ in epochs" in text) == (0, True, True)
    plain = json.loads(target.read_text(encoding="utf-8"))
    arm = plain["comparison"]["arms"][0]
    assert (arm["mean"]["value"], arm["improvement"]["low"]) == (found.arms[0].mean.value, found.arms[0].improvement.low)
    assert (arm["low_new"], plain["metric"]) == ("-Infinity", "test/miou")
    assert plain["sentences"]["l2"] == wording.sentence(found.arms[0], found)
    cli.read(["compare", *map(str, folders), "--format", "csv"])
    rows = list(csv.DictReader(io.StringIO(capfd.readouterr().out)))
    assert [row["data_set"] for row in rows] == ["roads", "cells", ""]
    assert float(rows[2]["difference"]) == found.arms[0].mean.value
    assert rows[0]["median"] == ""
    assert r"mean of 2 & 12 & +2.00 [+2.00, +2.00]" in said(capfd, *folders, "--format", "latex")[1]
    assert "| mean of 2 | 12 | +2.00 [+2.00, +2.00] |" in said(capfd, *folders, "--format", "markdown")[1]
    said(capfd, *folders, "--output", tmp_path / "sets.txt")
    assert "mean of 2" in (tmp_path / "sets.txt").read_text()
    assert not list(tmp_path.glob("report-sets-*"))


@pytest.mark.parametrize(
    ("words_given", "expected"),
    [
        (("roads", "roads/"), "roads: is named twice; expected one folder for each data set"),
        (("roads", "."), "holds several studies; name the folder of one study for each data set"),
        (("roads", "nowhere"), "nowhere: no such folder"),
        (("roads", "empty"), "empty: has no finished run to compare; run its study, or leave it out"),
        (("roads", "cells", "--classes"), "--classes: data sets have other classes"),
        (("roads", "cells", "--baseline", "l3"), "roads: the baseline 'l3' has no results"),
        (("roads", "twin"), "roads and twin have the same test images: expected another data set in each study"),
        (
            ("roads", "stronger"),
            "arm 'l2' has other settings in stronger than in roads: regularizer.strength: 0.001 → 0.01. Expected the same",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(
    folders: list[Path], words_given: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root = folders[0].parent
    monkeypatch.chdir(root)
    (root / "empty").mkdir()
    write_study(root / "empty", [], record("empty"))
    write(root, "twin", record("twin", images="roads"))
    write(root, "stronger", record("stronger", regularizer={"class": "seglab.L2", "strength": 0.01}))
    code, text = said(capfd, *words_given)
    assert code == 2
    assert text.startswith("error: ")
    assert expected in text
    assert not list(root.glob("report-sets-*"))


def test_tuned_arms_and_edited_code_are_noted(tmp_path: Path) -> None:
    one = record("roads", tuning={"chosen": "lr=1"}, code={"my.Loss": "abc"}, optimizer={"lr": 1})
    other = record("cells", tuning={"chosen": "lr=2"}, code={"my.Loss": "def"}, optimizer={"lr": 2})
    found = analyse_sets(read_sets([write(tmp_path, "roads", one), write(tmp_path, "cells", other)]))
    assert "the code of my.Loss is not the same in all studies" in found.notes
    assert any(note.startswith("tuned arms: ") for note in found.notes)


def test_a_damaged_result_is_named_with_its_data_set(folders: list[Path], capfd: pytest.CaptureFixture[str]) -> None:
    path = folders[1] / "l2" / "seed-3" / "result.json"
    path.write_text("{")
    code, text = said(capfd, *folders)
    assert (code, f"! cells: {path}: damaged" in text) == (0, True)
    assert "cells 5" in text


def test_signs_of_bad_health_are_shown_with_their_data_set(tmp_path: Path) -> None:
    folders = [write(tmp_path, name, record(name)) for name in ("roads", "cells")]
    for seed in range(6):
        same = read_result(folders[1] / "none" / f"seed-{seed}" / "result.json")
        path = folders[1] / "l2" / f"seed-{seed}" / "result.json"
        write_result(path, dataclasses.replace(same, run=Run("cells", "l2", seed), identity=read_result(path).identity))
    notes = analyse_sets(read_sets(folders)).notes
    equal = [note for note in notes if "exactly equal scores" in note]
    assert [note.partition(": ")[0] for note in equal] == ["cells"]


def test_a_study_with_open_runs_waits(tmp_path: Path) -> None:
    analysis = Analysis("none", "test/miou", 0.005, 0.05, ("none", "l2"), tuple(range(8)))
    folders = [write(tmp_path, name, dataclasses.replace(record(name), analysis=analysis)) for name in ("roads", "cells")]
    found = analyse_sets(read_sets(folders))
    assert [each.waits for each in found.sets] == ["interim: 6 of 8 seeds are done in all arms"] * 2
