"""Two real processes find a mean over the local batch, and end in any case."""

import inspect
import signal
import time
from functools import partial

import pytest
from torch import Tensor, nn

import seglab.losses
from seglab.checking import two_processes
from seglab.checking.candidate import Subject
from seglab.checking.two_processes import averaged_gradients, compared
from seglab.losses import CrossEntropy, Dice, WeightedSum
from tests.checking import wrong_losses as wrong

RIGHT = [
    Subject(wrong.Right),
    Subject(wrong.Right, classes=2),
    Subject(wrong.Learned),
    Subject(partial(CrossEntropy, weight=[1.0, 3.0, 0.2])),
    Subject(partial(Dice, absent="penalize", reduction="image")),
    Subject(partial(WeightedSum, {"ce": CrossEntropy(), "dice": Dice()}, {"ce": 1.0, "dice": 0.5})),
] + [
    Subject(getattr(seglab.losses, name))
    for name in seglab.losses.__all__
    if all(parameter.default is not parameter.empty for parameter in inspect.signature(getattr(seglab.losses, name)).parameters.values())
]
LOCAL = [Subject(wrong.MeanOnEachProcess), Subject(partial(nn.CrossEntropyLoss, ignore_index=255))]


@pytest.fixture(scope="module")
def averaged() -> list[Tensor]:
    return averaged_gradients([*RIGHT, *LOCAL])


def name(candidate: Subject) -> str:
    make = candidate.make
    return make.func.__name__ if isinstance(make, partial) else getattr(make, "__name__", "")


@pytest.mark.slow
@pytest.mark.parametrize("place", range(len(RIGHT)), ids=[name(candidate) for candidate in RIGHT])
def test_two_processes_are_one(place: int, averaged: list[Tensor]) -> None:
    outcome = compared(RIGHT[place], averaged[place])
    assert outcome.mark == "✓", outcome.measured


@pytest.mark.slow
@pytest.mark.parametrize("place", range(len(LOCAL)), ids=[name(candidate) for candidate in LOCAL])
def test_a_mean_over_the_local_batch_is_found(place: int, averaged: list[Tensor]) -> None:
    outcome = compared(LOCAL[place], averaged[len(RIGHT) + place])
    assert outcome.failed


@pytest.mark.slow
def test_the_first_reason_is_told() -> None:
    with pytest.raises(RuntimeError, match=r"^on process 1: ValueError: not on this one$"):
        averaged_gradients([Subject(wrong.OnRankOneOnly)])


@pytest.mark.slow
def test_processes_that_hang_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_processes, "DEADLINE", 1.0)
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="did not end in 1 s"):
        averaged_gradients([Subject(wrong.Right)])  # importing torch alone takes longer
    assert time.monotonic() - start < 30
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("make", [wrong.NaNForAbsentClasses, wrong.RaisesForAbsentClasses, wrong.NaNForAnImageWithoutLabels])
def test_what_fails_on_one_process_is_not_tried_on_two(make: type[nn.Module]) -> None:
    outcome = two_processes.two_processes(Subject(make))
    assert outcome.mark == "–"
    assert "on one process" in outcome.measured
