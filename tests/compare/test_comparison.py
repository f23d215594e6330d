import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seglab.compare import Comparison, Criteria, Metric, compare, per_class, wording
from seglab.compare.numbers.verdicts import worst_cases
from tests.compare.drawn import result, study

TEST_MIOU = Criteria(Metric("test", "miou"), "none")
BASE = [0.60, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66, 0.67]


def shifted(*steps: float) -> list[float]:
    return [score + steps[place % len(steps)] for place, score in enumerate(BASE)]


def contrast_of(found: Comparison, arm: str):  # type: ignore[no-untyped-def]
    return next(contrast for contrast in found.contrasts if contrast.arm == arm)


def test_the_four_verdicts() -> None:
    found = compare(
        study(
            {
                "up": shifted(0.02, 0.03),
                "none": BASE,
                "down": shifted(-0.02, -0.03),
                "same": shifted(1e-4, -1e-4),
                "wild": shifted(0.2, -0.19),
            }
        ),
        TEST_MIOU,
    )
    assert [contrast.verdict for contrast in found.contrasts] == ["better", "worse", "equivalent", "inconclusive"]
    assert [arm.arm for arm in found.arms] == ["none", "up", "down", "same", "wild"]
    up = found.contrasts[0]
    assert up.difference == pytest.approx(0.025)
    assert (up.p, up.p_holm, up.superiority) == (2 / 256, 8 / 256, 1.0)
    assert up.low < 0.025 < up.high
    assert found.arms[0].score.mean == pytest.approx(np.mean(BASE))
    assert found.arms[0].score.sd == pytest.approx(np.std(BASE, ddof=1))
    assert found.arms[0].secondary["test/dice"].mean == pytest.approx(np.mean(BASE) + 0.1)
    assert found.notes == ()


def test_a_real_difference_within_the_margin_is_marked() -> None:
    found = compare(study({"none": BASE, "a": shifted(0.001, 0.0012)}), TEST_MIOU).contrasts[0]
    assert (found.verdict, found.within_margin) == ("better", True)


def test_a_lower_loss_is_better() -> None:
    found = compare(study({"none": BASE, "a": shifted(0.02, 0.03)}), Criteria(Metric.parse("val/loss"), "none")).contrasts[0]
    assert found.difference == pytest.approx(-0.025)
    assert (found.verdict, found.superiority) == ("better", 1.0)


def test_a_loss_has_no_margin_and_no_equivalence_unless_one_is_given() -> None:
    """The losses of `none` and `same` differ by 0.0001 at most, those of `small` and `none` by 0.0012."""
    results = study({"none": BASE, "same": shifted(1e-4, -1e-4), "small": shifted(0.001, 0.0012)})
    found = compare(results, Criteria(Metric.parse("val/loss"), "none"))
    assert [(contrast.verdict, contrast.within_margin) for contrast in found.contrasts] == [("inconclusive", False), ("better", False)]
    assert all(math.isnan(contrast.p_equivalence) and math.isnan(contrast.p_equivalence_holm) for contrast in found.contrasts)
    judged = compare(results, Criteria(Metric.parse("val/loss"), "none", margin=0.005))
    assert [(contrast.verdict, contrast.within_margin) for contrast in judged.contrasts] == [("equivalent", True), ("better", True)]
    assert [contrast.p for contrast in judged.contrasts] == [contrast.p for contrast in found.contrasts]


def test_five_pairs_give_numbers_but_no_verdict() -> None:
    found = compare(study({"none": BASE[:5], "a": shifted(0.02)[:5]}), TEST_MIOU).contrasts[0]
    assert found.verdict == "no verdict"
    assert "5 of the 6 pairs needed" in found.reason
    assert "0.0625" in found.reason
    assert found.p == 0.0625
    assert found.difference == pytest.approx(0.02)


def test_six_pairs_suffice() -> None:
    assert compare(study({"none": BASE[:6], "a": shifted(0.02)[:6]}), TEST_MIOU).contrasts[0].verdict == "better"


def test_too_many_contrasts_for_the_pairs_is_noted() -> None:
    found = compare(study({"none": BASE[:6], "a": shifted(0.02)[:6], "b": shifted(0.01)[:6]}), TEST_MIOU)
    assert any("7 pairs could" in note for note in found.notes)


def test_identical_arms() -> None:
    found = compare(study({"none": BASE, "a": BASE}), TEST_MIOU).contrasts[0]
    assert (found.p, found.low, found.high, found.superiority, found.verdict) == (1, 0, 0, 0.5, "equivalent")
    assert math.isnan(found.effect_size)
    assert found.correlation == pytest.approx(1)


def test_constant_arms_have_no_correlation() -> None:
    found = compare(study({"none": [0.5] * 6, "a": [0.6] * 6}), TEST_MIOU)
    assert math.isnan(found.contrasts[0].correlation)
    assert (found.arms[0].score.sd, found.contrasts[0].verdict) == (0, "better")


def test_one_pair() -> None:
    found = compare(study({"none": [0.5], "a": [0.6]}), TEST_MIOU)
    assert (found.contrasts[0].low, found.contrasts[0].high) == (-math.inf, math.inf)
    assert math.isnan(found.arms[0].score.sd)
    assert (found.contrasts[0].p, found.contrasts[0].verdict) == (1, "no verdict")


def test_nan_and_lone_seeds_are_left_out_and_named() -> None:
    results = study({"none": [*BASE, 0.9], "a": [math.nan, *shifted(0.02)[1:]]})
    found = compare(results, TEST_MIOU)
    assert found.contrasts[0].seeds == (1, 2, 3, 4, 5, 6, 7)
    assert found.notes == (
        "a, seed 0: test/miou is undefined (NaN); left out",
        "a against none: a has no test/miou for seed 8; left out of the pairs",
        "a: undefined in 1 of 8 runs, which the means leave out: val/miou, val/loss, test/dice",
        "a: the difference is over the 7 seeds that it shares with none; over these the means are 66.00 and 64.00",
    )


def test_no_common_seed_is_no_verdict() -> None:
    found = compare([result("none", 0, 0.5), result("a", 1, 0.6)], TEST_MIOU).contrasts[0]
    assert (found.seeds, found.verdict) == ((), "no verdict")
    assert math.isnan(found.p_holm)


def test_a_single_arm_is_summarised() -> None:
    found = compare(study({"none": BASE}), TEST_MIOU)
    assert found.contrasts == ()
    assert "nothing to compare" in found.notes[0]


def test_a_metric_that_some_runs_lack_is_noted() -> None:
    results = study({"none": BASE, "a": shifted(0.02)})
    results[3] = dataclasses.replace(results[3], test={})
    found = compare(results, TEST_MIOU)
    assert any("none, seed 3: test/miou is missing" in note for note in found.notes)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "no results"),
        ([result("none", 0, 0.5), result("none", 0, 0.6)], "more than one result for study/none/s0"),
        ([result("a", 0, 0.5), result("b", 0, 0.6)], "baseline 'none' has no results: the arms with results are a, b"),
        ([result("none", 0, 0.5), result("a", 0, 0.6, study="other")], "different studies: other; study"),
        ([result("none", 0, 0.5), result("a", 0, 0.6, classes=("road", "sky"))], "different lists of classes"),
        ([result("none", 0, 0.5), dataclasses.replace(result("none", 1, 0.6), identity="x")], "mixes 2 settings"),
    ],
)
def test_results_that_do_not_belong_together_are_refused(results: list, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        compare(results, TEST_MIOU)


def test_unknown_metric_and_senseless_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown metric 'test/nope'"):
        compare(study({"none": BASE}), Criteria(Metric.parse("test/nope"), "none"))
    with pytest.raises(ValueError, match="alpha 1"):
        compare(study({"none": BASE}), Criteria(Metric("test", "miou"), "none", alpha=1.5))
    with pytest.raises(ValueError, match="margin 0"):
        compare(study({"none": BASE}), Criteria(Metric("test", "miou"), "none", margin=0))


@settings(max_examples=25)
@given(st.permutations(range(16)))
def test_the_order_of_results_changes_no_number(order: list[int]) -> None:
    results = study({"none": BASE, "a": shifted(0.01, -0.003, 0.02)})
    assert compare([results[i] for i in order], TEST_MIOU).contrasts == compare(results, TEST_MIOU).contrasts


def test_per_class_differences_are_adjusted_over_all_cells() -> None:
    results = [result("none", s, 0.5, iou=(0.5, math.nan if s == 2 else 0.6)) for s in range(8)]
    results += [result("a", s, 0.5, iou=(0.53 + 0.001 * s, 0.6)) for s in range(8)]
    results += [result("b", s, 0.5, iou=(0.5, math.nan)) for s in range(8)]
    found = per_class(results, "none")
    assert [(cell.arm, cell.class_name, cell.n) for cell in found.cells] == [
        ("a", "road", 8),
        ("a", "car", 7),
        ("b", "road", 8),
        ("b", "car", 0),
    ]
    road = found.cells[0]
    assert road.difference == pytest.approx(0.0335)
    assert road.low < road.difference < road.high
    assert road.p == 2 / 256
    assert road.p_bh == pytest.approx(3 * 2 / 256)  # three cells have a test
    assert (found.cells[1].p, found.cells[1].p_bh) == (1, 1)
    assert math.isnan(found.cells[3].p_bh)
    assert "class car: test/iou is undefined for seed 2" in found.notes[0]
    with pytest.raises(ValueError, match="no per-class test/f1: it has test/iou"):
        per_class(results, "none", Metric("test", "f1"))


def test_a_gap_is_compared_and_no_end_is_better() -> None:
    found = [
        dataclasses.replace(result(arm, seed, 0.5 + 0.01 * seed), train={"miou": 0.5 + 0.01 * seed + gap})
        for arm, gap in (("none", 0.2), ("l2", 0.1))
        for seed in range(8)
    ]
    answer = compare(found, Criteria(Metric.parse("gap/miou"), "none"))
    (contrast,) = answer.contrasts
    assert contrast.difference == pytest.approx(-0.1)
    assert contrast.verdict == "different"
    assert math.isnan(contrast.superiority)
    assert wording.sentence(contrast, answer).startswith("l2 differs from none: −10.00 points (95 % interval −10.00 to −10.00)")
    assert answer.arms[0].secondary["gap/miou"].mean == pytest.approx(0.2)


def test_a_gap_with_a_diverged_run_has_to_differ_at_both_ends() -> None:
    """A gap has no worst end: the diverged run gets the smallest gap of the study, and the largest."""
    metric = Metric.parse("gap/miou")
    scores = {"none": {0: 0.10, 1: 0.11}, "l2": {1: 0.05}}
    assert worst_cases(scores, {}, metric) == []
    assert worst_cases(scores, {"l2": (0,)}, metric) == [
        {"none": scores["none"], "l2": {0: 0.05, 1: 0.05}},
        {"none": scores["none"], "l2": {0: 0.11, 1: 0.05}},
    ]
    assert worst_cases(scores, {"l2": (0,)}, Metric("val", "loss")) == [{"none": scores["none"], "l2": {0: 0.11, 1: 0.05}}]
    assert worst_cases(scores, {"l2": (0,)}, Metric("test", "miou")) == [{"none": scores["none"], "l2": {0: 0.05, 1: 0.05}}]
