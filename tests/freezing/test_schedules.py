"""Schedules as functions: against their definitions, their phases, and what they refuse."""

import dataclasses
import inspect
import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seglab import freezing
from seglab.freezing import (
    LPFT,
    FreezeOut,
    FreezeSchedule,
    FrozenEncoder,
    FullFineTuning,
    GradualUnfreeze,
    LayerwiseDecay,
    Product,
    Surgical,
    WarmUp,
    phase_table,
    phases_of,
)
from seglab.stage import Progress, Stage
from tests.freezing.deep import SCHEDULES

RESNET = [
    *(Stage(f"encoder.{depth}", depth, 6 - depth, "encoder") for depth in range(5)),
    Stage("decoder", 5, 1, "decoder"),
    Stage("head", 6, 0, "head"),
]
START = Progress(0, 100, 10)


def table(schedule: FreezeSchedule, steps: list[int], start: Progress = START) -> list[list[float]]:
    """Factors of encoder.0, …, encoder.4, decoder, head at some steps."""
    return [[schedule.lr_scale(stage, start.at(step)) for stage in RESNET] for step in steps]


def test_the_simple_ones() -> None:
    assert table(FullFineTuning(0.1), [0, 99]) == [[0.1] * 5 + [1, 1]] * 2
    assert table(FrozenEncoder(), [0, 99]) == [[0] * 5 + [1, 1]] * 2
    assert table(Surgical(["encoder.0", "head"]), [50]) == [[1, 0, 0, 0, 0, 0, 1]]
    assert table(Surgical(["encoder", "decoder"]), [50]) == [[1, 1, 1, 1, 1, 1, 0]]


@pytest.mark.parametrize(("probe", "first"), [(0.1, 10), (0.25, 25), (3, 30), (0.104, 10), (0.999, 100)])
def test_lpft_begins_with_the_new_parts(probe: float, first: int) -> None:
    before, after = table(LPFT(probe), [first - 1, min(first, 99)])
    assert before == [0] * 5 + [1, 1]
    assert after == ([1] * 7 if first < 100 else before)


@pytest.mark.parametrize("every", [0.1, 1])
def test_gradual_unfreezing_goes_from_the_head_down(every: float) -> None:
    found = table(GradualUnfreeze(every), [0, 9, 10, 19, 20, 30, 40, 49, 50, 99])
    assert [sum(row) for row in found] == [2, 2, 3, 3, 4, 5, 6, 6, 7, 7]
    assert all(row == sorted(row) for row in found), "what is deeper trains first"


def test_layerwise_decay() -> None:
    (row,) = table(LayerwiseDecay(0.5), [7])
    assert row == [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 1]


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_freeze_out_is_the_paper_s(cubic: bool, scaled: bool) -> None:
    """Equations of Brock et al. 2017: t_i evenly spaced, cubed; α_i(t) = ½ α_i(0)(1 + cos(πt/t_i)); α_i(0) = α/t_i when
    scaled.
    """
    start = Progress(0, 1000, 10)
    for place, stage in enumerate(RESNET):
        end = (0.8 + 0.2 * place / 6) ** (3 if cubic else 1)
        for step in (0, 100, 500, 511, 513, 900, 999):
            t = step / 1000
            expected = 0.0 if t >= end else 0.5 * (1 / end if scaled else 1) * (1 + math.cos(math.pi * t / end))
            assert FreezeOut(0.8, cubic, scaled).lr_scale(stage, start.at(step)) == pytest.approx(expected, abs=1e-12)


def test_scaled_freeze_out_has_the_same_sum_of_rates_for_all_stages() -> None:
    start = Progress(0, 20_000, 100)
    for stage in RESNET:
        total = sum(FreezeOut(0.5).lr_scale(stage, start.at(step)) for step in range(20_000))
        assert total == pytest.approx(10_000, rel=1e-3)


@given(
    step=st.integers(0, 99),
    factors=st.lists(st.sampled_from([FullFineTuning(0.3), LPFT(0.2), GradualUnfreeze(2), LayerwiseDecay(0.7)]), min_size=1, max_size=3),
)
def test_a_product_multiplies(step: int, factors: list[FreezeSchedule]) -> None:
    for stage in RESNET:
        expected = math.prod(schedule.lr_scale(stage, START.at(step)) for schedule in factors)
        assert Product(factors).lr_scale(stage, START.at(step)) == expected
        assert Product(factors[::-1]).lr_scale(stage, START.at(step)) == pytest.approx(expected)


def test_warm_up_after_an_unfreezing() -> None:
    deepest = [row[4] for row in table(WarmUp(GradualUnfreeze(0.2), 0.05), list(range(100)))]
    assert deepest[:20] == [0.0] * 20
    assert deepest[20:25] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert deepest[25:] == [1.0] * 75
    head = [row[6] for row in table(WarmUp(GradualUnfreeze(0.2), 0.05), list(range(100)))]
    assert head == [1.0] * 100, "what trains from the first step on is the scheduler's"


@dataclass(frozen=True)
class On(FreezeSchedule):
    """Everything trains from `begin` on, and the head always."""

    begin: int

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return 1.0 if stage.name == "head" or progress.step >= self.begin else 0.0


@given(begin=st.integers(1, 90), over=st.integers(1, 9), step=st.integers(0, 99))
def test_warm_up_is_a_ramp_wherever_the_unfreezing_is(begin: int, over: int, step: int) -> None:
    start = Progress(0, 100, 1)  # so that epochs are steps
    found = WarmUp(On(begin), over).lr_scale(RESNET[0], start.at(step))
    expected = 0.0 if step < begin else min(1.0, (step - begin + 1) / over)
    assert found == pytest.approx(expected)


def test_phases() -> None:
    found = phases_of(Product([WarmUp(GradualUnfreeze(0.1)), FullFineTuning(0.1)]), RESNET, Progress(0, 600, 20))
    assert [(phase.first.step, phase.last.step) for phase in found] == [(0, 59), (60, 119), (120, 179), (180, 239), (240, 299), (300, 599)]
    assert [len(phase.trains) for phase in found] == [2, 3, 4, 5, 6, 7]
    rows = phase_table(found, {stage.name: 1000 for stage in RESNET})
    assert rows[1] == {
        "epochs": "3 to 6",
        "steps": "60 to 119",
        "trains": "encoder.4, decoder, head",
        "parameters": "3,000 (43 %)",
        "lr factor": "encoder.4: 0.0083 → 0.1; decoder, head: 1",
    }
    assert rows[-1]["trains"] == "encoder.0-4, decoder, head"


@given(begin=st.integers(1, 99_999))
def test_a_change_is_found_to_the_step(begin: int) -> None:
    found = phases_of(On(begin), RESNET, Progress(0, 100_000, 1000))
    assert [phase.first.step for phase in found] == [0, begin]


@dataclass(frozen=True)
class Constant(FreezeSchedule):
    factor: float
    until: int = 100

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return self.factor if progress.step < self.until else 0.0


@pytest.mark.parametrize(
    ("schedule", "start", "message"),
    [
        (LPFT(10), START, r"LPFT\(probe=10\): the encoder would be unfrozen at step 100 \(epoch 10\), and the training ends at step 100"),
        (LPFT(0.999), START, "unfrozen at step 100 .*train longer, or begin it earlier"),
        (GradualUnfreeze(0.2), START, r"encoder.0 would be unfrozen at step 100 \(epoch 10\)"),
        (GradualUnfreeze(3), START, r"encoder.1 would be unfrozen at step 120|encoder.0 would be unfrozen at step 150"),
        (LPFT(0.1), Progress(0, 4, 2), r"LPFT\(probe=0.1\): 10 % of the training is less than an optimizer step, as there are 4 in all"),
        (GradualUnfreeze(0.01), Progress(0, 20, 2), "1 % of the training is less than an optimizer step"),
        (Product([FullFineTuning(), GradualUnfreeze(3)]), START, "would be unfrozen at step"),
        (WarmUp(LPFT(10)), START, "would be unfrozen at step 100"),
        (WarmUp(LPFT(1), 10), START, "a warm-up of 10 epochs is not over before the training is"),
        (
            Surgical(["encoder.7"]),
            START,
            r"there is no stage 'encoder.7' \(did you mean encoder.\d or encoder.\d\?\); the stages are encoder.0, ",
        ),
        (Surgical(["heads", "encoder"]), START, r"no stage 'heads' \(did you mean head\?\)"),
        (Constant(0.0), START, r"trains no stage at step 0 \(epoch 0\); there are encoder.0, "),
        (Constant(1.0, until=37), START, r"trains no stage at step 37 \(epoch 3\)|trains no stage at step \d+"),
        (Product([FrozenEncoder(), Surgical(["encoder"])]), START, "trains no stage at step 0"),
        (Constant(-1.0), START, "gives encoder.0 the factor -1.0 at step 0; expected a finite number, 0 or more"),
        (Constant(math.nan), START, "the factor nan"),
        (Constant(math.inf), START, "the factor inf"),
    ],
    ids=repr,
)
def test_a_schedule_that_cannot_be_meant_is_refused(schedule: FreezeSchedule, start: Progress, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        phases_of(schedule, RESNET, start)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FullFineTuning(0), "FrozenEncoder"),
        (lambda: FullFineTuning(-1), "expected a finite factor above 0"),
        (lambda: FullFineTuning(math.inf), "expected a finite factor above 0"),
        (lambda: LPFT(0), r"LPFT: probe=0: expected a number of epochs \(1, 2, …\) or a fraction"),
        (lambda: LPFT(1.0), r"LPFT: probe=1.0: expected"),
        (lambda: LPFT(1.5), r"LPFT: probe=1.5: expected"),
        (lambda: LPFT(math.nan), "expected"),
        (lambda: LPFT(True), "expected"),
        (lambda: GradualUnfreeze(-2), "GradualUnfreeze: every=-2: expected"),
        (lambda: LayerwiseDecay(0), "LayerwiseDecay: decay=0: expected a finite factor above 0"),
        (lambda: Surgical([]), "expected a list of one stage or more"),
        (lambda: Surgical("decoder"), "expected a list of one stage or more"),
        (lambda: FreezeOut(0), "FreezeOut: first=0: expected a fraction of the training above 0 and at most 1"),
        (lambda: Product([]), "give one schedule or more"),
        (lambda: WarmUp(LPFT(1), 0.0), "WarmUp: over=0.0: expected"),
    ],
)
def test_bad_arguments(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_every_public_schedule_is_trained_by_the_tests() -> None:
    """`SCHEDULES` is what the tests of steps, of a resume and of two ranks go through."""
    public = [getattr(freezing, name) for name in freezing.__all__]
    wanted = {cls.__name__ for cls in public if isinstance(cls, type) and issubclass(cls, FreezeSchedule) and not inspect.isabstract(cls)}
    assert wanted <= {part.__class__.__name__ for schedule in SCHEDULES.values() for part in parts_of(schedule)}


def parts_of(schedule: FreezeSchedule) -> list[FreezeSchedule]:
    """A schedule and those that it is made of."""
    inner = [value for field in dataclasses.fields(schedule) for value in listed(getattr(schedule, field.name))]  # type: ignore[arg-type]
    return [schedule, *(part for one in inner if isinstance(one, FreezeSchedule) for part in parts_of(one))]


def listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]
