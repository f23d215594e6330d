"""The race between frameworks: each side trains the same, and a side that trains otherwise is refused."""

import importlib.util
from pathlib import Path

import pytest
import torch

from tests.benchmarks.race.course import SIDES, Found, Times, check_same_training, prepare, trained
from tests.benchmarks.race.shared import WATCHED, Clock, Size

TINY = Size("tu-mobilenetv3_small_050", side=32, batch=4, steps=WATCHED, epochs=3)


def found(losses: list[float], scores: list[float]) -> Found:
    nothing = Times(imports=0.0, first=0.0, steps=[], epochs=[])
    return Found(nothing, nothing, memory=0.0, losses=losses, scores=scores)


SAME = found([2.0, 1.9, 1.8, 1.7, 1.6], [0.2, 0.3])


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("race") / "by-hand"
    prepare(folder, TINY)
    return trained("by hand", folder)


@pytest.mark.slow
@pytest.mark.parametrize("side", [name for name in SIDES if name != "by hand"])
def test_a_side_trains_as_the_loop_by_hand(side: str, by_hand: Found, tmp_path: Path) -> None:
    library = SIDES[side][1]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: pip install -e '.[bench-peers]'")
    prepare(tmp_path / "side", TINY)
    one = trained(side, tmp_path / "side")
    check_same_training({"by hand": [by_hand], side: [one]})
    assert len(set(one.losses)) == WATCHED
    assert len(one.scores) == TINY.epochs
    for times in (one.wall, one.cpu):
        assert (len(times.steps), len(times.epochs)) == (TINY.epochs - 1, TINY.epochs - 2)
        assert 0 < max(times.steps) < min(times.epochs)
        assert 0 < times.imports < times.first


@pytest.mark.parametrize(
    "other",
    [
        found([2.0, 1.9, 1.8, 1.7, 1.61], [0.2]),
        found([2.0, 1.9, 1.8, 1.7, float("nan")], [0.2]),
        found(SAME.losses, [0.21]),
        found(SAME.losses[:-1], [0.2]),
    ],
)
def test_a_side_that_trains_otherwise_is_refused(other: Found) -> None:
    check_same_training({"by hand": [SAME], "other": [SAME]})
    with pytest.raises(RuntimeError, match="other does not train as the loop by hand"):
        check_same_training({"by hand": [SAME], "other": [other]})


def test_the_clock_counts_the_steps_of_an_epoch() -> None:
    clock = Clock()
    clock.batch, clock.masks = 2, [torch.zeros(2, 4, 4, dtype=torch.int64)]
    image, logits = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    for training in (True, True, False, False, True):
        clock.begin(image, training)
        clock.end(logits, training)
    clock.begin(image[:1], training=True)  # not a step: another number of images
    assert [len(epoch) for epoch in clock.epochs] == [2, 1]
    assert clock.losses == pytest.approx([torch.tensor(3.0).log().item()])
