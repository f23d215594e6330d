"""Names of arms that cross two factors, and their place in the record."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from seglab import L2, CrossEntropy, FrozenEncoder, FullFineTuning, SegmentationDataModule, SegmentationModule, Shapes, Study, unet
from seglab.freezing import FreezeSchedule
from seglab.records import Run, StudyRecord, identity, read_record, write_record
from seglab.regularizers import Regularizer
from seglab.running.plan import Plan, Script, Selection, agreed_record
from seglab.running.resources import Resources
from seglab.study.arms import Arm, Tuned
from seglab.study.identity import record

DATA = SegmentationDataModule(Shapes(num_train=4, image_size=32), num_workers=0)
GRID = ("none+full", "l2+full", "none+frozen", "l2+frozen")


def arm(penalty: Regularizer | None = None, freeze: FreezeSchedule | None = None) -> Arm:
    return lambda: SegmentationModule(
        unet("resnet18", DATA.num_classes), CrossEntropy(), num_classes=DATA.num_classes, regularizer=penalty, freeze=freeze
    )


ARMS: dict[str, Arm | Tuned] = {
    "none+full": arm(None, FullFineTuning()),
    "l2+full": arm(L2(1e-4), FullFineTuning()),
    "none+frozen": arm(None, FrozenEncoder()),
    "l2+frozen": arm(L2(1e-4), FrozenEncoder()),
}


def crossed(arms: Sequence[str] = GRID, factors: Sequence[str] = ("penalty", "schedule")) -> Study:
    return Study("crossed", DATA, 1, range(2), arms[0], {name: ARMS.get(name, arm()) for name in arms}, factors=factors)


@pytest.mark.parametrize(
    ("arms", "factors", "message"),
    [
        (GRID, "penalty", r"factors 'penalty': a study crosses exactly two factors \(more are not supported\), as in factors="),
        (GRID, ("penalty",), r"factors \['penalty'\]: a study crosses exactly two"),
        (GRID, ("a", "b", "c"), r"factors \['a', 'b', 'c'\]: .*more are not supported"),
        (GRID, ("penalty", "penalty"), "they have the same name; give two different ones"),
        (GRID, ("penalty", ""), "factor '': a name starts with a letter or digit"),
        (("none", *GRID), ("a", "b"), r"arm 'none': splits at \+ into 'none', not into one level of each factor; name the arms <a>\+<b>"),
        ((*GRID, "l2+full+x"), ("a", "b"), r"arm 'l2\+full\+x': splits at \+ into 'l2', 'full', 'x', not .* with no \+ inside a level"),
        ((*GRID, "l2+"), ("a", "b"), r"arm 'l2\+': splits at \+ into 'l2', ''"),
        (GRID[:3], ("a", "b"), r"a × b: every level .*, and l2\+frozen is not among the arms; add it"),
        ((*GRID, "l1+lpft"), ("a", "b"), r"none\+lpft, l2\+lpft, l1\+full, l1\+frozen are not among the arms; add them"),
        (GRID[:2], ("a", "b"), "factor 'b' has the single level 'full': give it another, or make the study one without factors"),
        (GRID[::2], ("a", "b"), "factor 'a' has the single level 'none'"),
    ],
)
def test_what_is_no_grid_is_refused(arms: Sequence[str], factors: Sequence[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        crossed(arms, factors)
    assert "\n" not in str(raised.value)


def test_without_factors_a_plus_in_a_name_means_nothing() -> None:
    assert crossed(("none", "l2+full+x"), factors=()).factors == ()


def test_the_record_names_them_and_the_identities_do_not(tmp_path: Path) -> None:
    plain, named = record(crossed(factors=()), GRID[:1]), record(crossed(factors=["penalty", "schedule"]), GRID[:1])
    assert (plain.factors, named.factors) == ((), ("penalty", "schedule"))
    run = Run("crossed", "none+full", 0)
    assert identity(plain, run) == identity(named, run)
    write_record(tmp_path, named)
    assert read_record(tmp_path) == named


def test_a_folder_from_before_takes_them_up(tmp_path: Path) -> None:
    def plan(factors: Sequence[str]) -> Plan:
        return Plan(crossed(factors=factors), tmp_path, Script(("script.py",)), Resources(), Selection(arm="none+full", seed=0))

    before: StudyRecord = agreed_record(plan(()))
    plan(()).folder.mkdir()
    write_record(plan(()).folder, before)
    assert agreed_record(plan(("penalty", "schedule"))).factors == ("penalty", "schedule")


def test_tuning_runs_cross_nothing() -> None:
    """Their arms are settings, in whose names a + may stand for what it likes."""
    tuned = {name: Tuned({"lr=1e+0": arm(), "lr=1e-1": arm()}) for name in GRID}
    study = Study("crossed", DATA, 1, range(2), GRID[0], tuned, factors=("penalty", "schedule"))
    assert study.tuning().factors == ()
    assert study.with_settings(dict.fromkeys(GRID, "lr=1e-1")).factors == ("penalty", "schedule")
