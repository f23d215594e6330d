"""Each fault is found by the check that looks for it, and by no other; what is right passes all."""

import inspect
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

import seglab.losses
from seglab.checking import numerics
from seglab.checking.candidate import Subject
from seglab.checking.checks import CHECKS, outcomes
from seglab.checking.outcomes import Outcome
from seglab.losses import CrossEntropy, Dice, WeightedSum
from tests.checking import wrong_losses as wrong

ELSEWHERE = ("two processes", "cost")
BUILT_IN = [
    getattr(seglab.losses, name)
    for name in seglab.losses.__all__
    if all(parameter.default is not parameter.empty for parameter in inspect.signature(getattr(seglab.losses, name)).parameters.values())
]
BOTH = partial(WeightedSum, {"ce": CrossEntropy(), "dice": Dice(absent="penalize")}, {"ce": 1.0, "dice": 0.5})

FAULTS: dict[type[nn.Module], str] = {
    wrong.Squeezes: "any batch and image size",
    wrong.Square: "any batch and image size",
    wrong.LogOfZero: "finite at extreme logits",
    wrong.RootOfZero: "finite at extreme logits",
    wrong.WrongBackward: "gradient matches value",
    wrong.WrongBackwardInFloat64: "gradient matches value",
    wrong.NaNWithoutLabels: "nothing labelled",
    wrong.NaNForAnImageWithoutLabels: "nothing labelled",
    wrong.ConstantWithoutLabels: "nothing labelled",
    wrong.NaNForAbsentClasses: "absent classes",
    wrong.RaisesForAbsentClasses: "absent classes",
    wrong.LearnsFromIgnored: "ignored pixels",
    wrong.MeanOverAll: "padding",
    wrong.SumInHalf: "half precision",
    wrong.Counts: "repeatable",
    wrong.NumpyRandom: "repeatable",
    wrong.WritesToMask: "inputs and state untouched",
    wrong.WritesToLogits: "inputs and state untouched",
    wrong.UpdatesInEvaluation: "inputs and state untouched",
    wrong.FirstImageCountsTwice: "image order, memory layout",
    wrong.Views: "image order, memory layout",
}


@pytest.fixture(autouse=True)
def _smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half as many pixels are still enough for a sum in half precision to overflow."""
    monkeypatch.setattr(numerics, "LARGE", (2, 200, 240))


def found(make: Callable[[], nn.Module], classes: int = 3) -> dict[str, Outcome]:
    """Return what all checks of one process find."""
    candidate = Subject(make, classes)
    return {check.title: check.outcome(candidate) for check in CHECKS if check.title not in ELSEWHERE}


def one(title: str, make: Callable[[], nn.Module]) -> Outcome:
    (check,) = [check for check in CHECKS if check.title == title]
    return check.outcome(Subject(make))


def failures(make: Callable[[], nn.Module], classes: int = 3) -> dict[str, str]:
    return {title: outcome.measured for title, outcome in found(make, classes).items() if outcome.mark != "✓"}


@pytest.mark.parametrize("make", FAULTS, ids=lambda make: make.__name__)
def test_a_fault_is_found_by_its_check_alone(make: type[nn.Module]) -> None:
    assert list(failures(make)) == [FAULTS[make]]


@pytest.mark.parametrize(
    "make",
    [wrong.Right, wrong.InFloat64, wrong.Learned, wrong.Hinge, wrong.Lovasz, wrong.HardPixels, wrong.MeanOnEachProcess],
    ids=lambda make: make.__name__,
)
def test_a_right_loss_passes(make: type[nn.Module]) -> None:
    assert failures(make) == {}


@pytest.mark.parametrize("make", [*BUILT_IN, BOTH], ids=lambda make: getattr(make, "__name__", "WeightedSum"))
def test_ours_pass(make: Callable[[], nn.Module]) -> None:
    assert failures(make) == {}


def test_ours_are_here() -> None:
    assert {CrossEntropy, Dice} <= set(BUILT_IN)


@pytest.mark.parametrize("classes", [1, 2, 9])
def test_other_numbers_of_classes(classes: int) -> None:
    assert failures(Dice, classes) == {}
    assert failures(CrossEntropy, classes) == {}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (wrong.Vector, "a tensor of shape (2,)"),
        (wrong.Integer, "torch.int64"),
        (wrong.Plain, "which is no tensor"),
        (wrong.Detached, "without a gradient"),
        (wrong.Flat, "a gradient of norm 0"),
        (wrong.Raises, "NotImplementedError: not yet (wrong_losses.py, line"),
        (partial(CrossEntropy, weight=[1.0, 2.0]), "weight has 2 numbers"),
    ],
)
def test_without_a_number_nothing_else_is_tried(make: Callable[[], nn.Module], said: str) -> None:
    ((check, first),) = outcomes(Subject(make))
    assert check is CHECKS[0]
    assert first.failed
    assert said in first.measured
    assert "\n" not in first.measured


def test_torch_s_cross_entropy_is_nan_without_labels_and_sums_in_half() -> None:
    said = failures(partial(nn.CrossEntropyLoss, ignore_index=255))
    assert "value nan" in said.pop("nothing labelled")
    assert set(said) == {"half precision"}


def test_a_loss_that_knows_no_255() -> None:
    said = failures(nn.CrossEntropyLoss)
    del said["half precision"]
    assert list(said) == ["nothing labelled", "ignored pixels", "padding"]
    assert all("Target 255 is out of bounds" in measured for measured in said.values())


def test_random_numbers_from_torch_are_told() -> None:
    outcome = one("repeatable", wrong.Random)
    assert outcome.mark == "✓"
    assert "draws random numbers" in outcome.measured


def test_the_precision_of_the_gradient_is_told() -> None:
    assert "in float32" in one("gradient matches value", wrong.Right).measured
    assert "in float64" in one("gradient matches value", wrong.InFloat64).measured


def test_false_positives_of_absent_classes_are_told() -> None:
    """Cross-entropy does not care what other pixels are; a Dice over the classes that are present does."""
    assert "have 100% of the gradient" in one("absent classes", CrossEntropy).measured
    assert "have 100% of the gradient" not in one("absent classes", Dice).measured


def test_checking_draws_no_random_number_of_the_caller() -> None:
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    failures(wrong.Learned)
    assert torch.equal(torch.rand(()), expected)
