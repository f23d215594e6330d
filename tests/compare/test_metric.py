"""The parts of a metric, and how its values are printed."""

import math

import pytest

from seglab.compare import Criteria, Metric
from seglab.compare.unit import PERCENT, SECONDS, equals, number, p_value, signed


@pytest.mark.parametrize(
    ("text", "parts", "title", "level"),
    [
        ("test/miou", ("test", "miou", None), "test mIoU", "%"),
        ("test/iou/car", ("test", "iou", "car"), "test IoU of car", "%"),
        ("val/dice/traffic/light", ("val", "dice", "traffic/light"), "val Dice of traffic/light", "%"),
        ("gap/miou", ("gap", "miou", None), "train–val gap of mIoU", "%"),
        ("val/pixel_accuracy", ("val", "pixel_accuracy", None), "val pixel accuracy", "%"),
        ("val/loss", ("val", "loss", None), "val loss", ""),
        ("test/iou/loss", ("test", "iou", "loss"), "test IoU of loss", "%"),
        ("cost/seconds", ("cost", "seconds", None), "cost seconds", "s"),
        ("cost/exact_zeros", ("cost", "exact_zeros", None), "cost exact zeros", "%"),
        ("cost/parameters", ("cost", "parameters", None), "cost parameters", ""),
        ("shift/noise-3/miou", ("shift/noise-3", "miou", None), "mIoU under noise-3", "%"),
        ("shift/night/iou/traffic/light", ("shift/night", "iou", "traffic/light"), "IoU of traffic/light under night", "%"),
        ("shift/mean/dice", ("shift/mean", "dice", None), "mean Dice under corruption", "%"),
    ],
)
def test_a_metric_by_its_parts(text: str, parts: tuple[str, str, str | None], title: str, level: str) -> None:
    metric = Metric.parse(text)
    assert (metric.split, metric.score, metric.class_name) == parts
    assert metric == Metric(*parts)
    assert (str(metric), metric.title, metric.unit.level) == (text, title, level)


@pytest.mark.parametrize(
    ("text", "smaller", "margin"),
    [
        ("test/miou", False, 0.005),
        ("train/dice", False, 0.005),
        ("test/iou/loss", False, 0.005),
        ("val/my_own_score", False, 0.005),
        ("test/calibration_error", True, 0.005),
        ("gap/dice", True, 0.005),
        ("val/loss", True, None),
        ("gap/loss", False, None),  # a loss is smaller on training images: the gap of an over-fitted network is the more negative one
        ("shift/noise-3/miou", False, 0.005),
        ("shift/noise-3/calibration_error", True, 0.005),
        ("cost/seconds", True, None),
        ("cost/parameters", True, None),
        ("cost/exact_zeros", False, None),
    ],
)
def test_direction_and_margin(text: str, smaller: bool, margin: float | None) -> None:
    metric = Metric.parse(text)
    assert (metric.smaller_is_better, metric.margin) == (smaller, margin)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "miou",
        "test",
        "test/",
        "/miou",
        "tset/miou",
        "test/iou/",
        "TEST/miou",
        "stage/head/norm",
        "shift",
        "shift/miou",
        "shift//miou",
        "shift/a/",
        "shift/a/iou/",
    ],
)
def test_a_malformed_metric_is_refused(text: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"expected SPLIT/SCORE, .* such as test/miou.*; SPLIT is one of train, val, test, gap, cost, or shift/NAME, as in shift/noise-3/miou$",
    ) as raised:
        Metric.parse(text)
    assert str(raised.value).startswith(f"metric {text!r}: ")


def test_criteria_take_the_margin_of_the_metric_unless_one_is_given() -> None:
    score, loss = Metric("test", "miou"), Metric("val", "loss")
    assert (Criteria(score, "none").margin, Criteria(score, "none").within) == (0.005, "±0.5 points")
    assert (Criteria(score, "none", margin=0.02).margin, Criteria(score, "none", margin=0.02).within) == (0.02, "±2 points")
    assert (Criteria(loss, "none").margin, Criteria(loss, "none").within) == (None, None)
    assert Criteria(loss, "none", margin=0.1).within == "±0.1"
    assert Criteria(score, "none", alpha=0.01).level == "99 %"


@pytest.mark.parametrize("margin", [0, -0.1, math.inf, math.nan])
def test_a_margin_is_a_number_above_zero(margin: float) -> None:
    with pytest.raises(ValueError, match=f"margin {margin}: expected a number above 0"):
        Criteria(Metric("test", "miou"), "none", margin=margin)


def test_numbers_as_text() -> None:
    assert [number(-0.001, 2), number(-1.234, 2), number(1234.5, None), number(math.nan, 2)] == ["0.00", "−1.23", "1234", "–"]
    assert [signed(0.001, 2), signed(1.2, 2), signed(-1.2, 2)] == ["0.00", "+1.20", "−1.20"]
    assert [p_value(0.0004), p_value(0.04), p_value(math.nan)] == ["<.001", "0.040", "–"]
    assert [equals(0.0004), equals(0.04)] == ["p < 0.001", "p = 0.040"]


def test_values_and_differences_in_their_unit() -> None:
    assert (PERCENT.value(0.5), PERCENT.mean_and_sd(0.5, 0.01), PERCENT.mean_and_sd(0.5, math.nan)) == ("50.00", "50.0 ±1.0", "50.00")
    assert (PERCENT.change(-0.012), PERCENT.amount(-0.012)) == ("−1.20 points", "1.20 points")
    assert (PERCENT.interval(-0.01, 0.02), PERCENT.interval(math.nan, math.nan)) == ("[−1.00, +2.00]", "")
    assert (SECONDS.change(1.5), SECONDS.span(-1, 2), SECONDS.within(0.5)) == ("+1.5 s", "−1 to +2", "±0.5 s")
