"""The declared analysis in `study.json`: free before the first result, then binding, changed by recorded amendments."""

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from seglab import Study
from seglab.records import Analysis, StudyRecord, read_record
from seglab.running.declared import agreed_analysis, idle_amendment, new_declaration
from seglab.running.plan import Plan, Script, Selection, agreed_record, save_record
from seglab.running.resources import Resources
from seglab.script.supervise import prepare
from tests.study.tiny_experiment import study

DECLARED = Analysis("none", "test/miou", 0.005, 0.05, ("none", "l1", "l2"), (0, 1, 2))


def record(analysis: Analysis | None = DECLARED) -> StudyRecord:
    return StudyRecord("tiny", "none", "test/miou", {}, {}, analysis=analysis)


def finish(folder: Path, runs: int = 1) -> Path:
    for seed in range(runs):
        directory = folder / "none" / f"seed-{seed}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "result.json").write_text("{}")
    return folder


CHANGES = {
    "baseline": ({"baseline": "l1"}, "baseline: none → l1"),
    "metric": ({"metric": "test/dice"}, "metric: test/miou → test/dice"),
    "margin": ({"margin": 0.02}, "margin: 0.005 → 0.02"),
    "no margin": ({"margin": None}, "margin: 0.005 → none"),
    "alpha": ({"alpha": 0.1}, "alpha: 0.05 → 0.1"),
    "looks": ({"looks": (2,)}, "looks: none → 2"),
    "stopping": ({"always_valid": True}, "always_valid: False → True"),
    "an arm": ({"arms": ("none", "l1", "l2", "hoyer")}, "arms: none, l1, l2 → also hoyer"),
    "seeds": ({"seeds": (0, 1, 2, 3, 4)}, "seeds: 0–2 → also 3, 4"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_after_the_first_result_is_refused_or_amended(change: str, tmp_path: Path) -> None:
    values, line = CHANGES[change]
    wanted = dataclasses.replace(DECLARED, **values)  # type: ignore[arg-type]
    assert agreed_analysis(tmp_path, record(), wanted, None) == (wanted, ())  # nothing has been seen yet
    finish(tmp_path, 2)
    with pytest.raises(ValueError, match="--amend") as refused:
        agreed_analysis(tmp_path, record(), wanted, None)
    assert f"{line} (declared → requested)" in str(refused.value)
    assert "of which 2 are there" in str(refused.value)
    after, (amendment,) = agreed_analysis(tmp_path, record(), wanted, "a reviewer asked")
    assert (amendment.why, amendment.before, amendment.after, amendment.finished) == ("a reviewer asked", DECLARED, after, 2)
    if change != "seeds":
        assert after == wanted
    agreed = dataclasses.replace(record(after), amendments=(amendment,))
    assert agreed_analysis(tmp_path, agreed, wanted, None) == (after, (amendment,))  # the amended request goes on without a word
    assert new_declaration(record(), agreed)[0].startswith("amended, as every comparison will say: ")


def test_added_seeds_are_exploratory_unless_the_tests_hold_after_any_number(tmp_path: Path) -> None:
    more = (0, 1, 2, 3, 4)
    after, _ = agreed_analysis(finish(tmp_path), record(), dataclasses.replace(DECLARED, seeds=more), "inconclusive")
    assert (after.seeds, after.added_seeds) == ((0, 1, 2), (3, 4))
    always = dataclasses.replace(DECLARED, always_valid=True)
    after, _ = agreed_analysis(tmp_path, record(always), dataclasses.replace(always, seeds=more), "inconclusive")
    assert (after.seeds, after.added_seeds) == ((0, 1, 2, 3, 4), ())


def test_fewer_arms_and_seeds_are_no_change_and_an_amendment_drops_arms_alone(tmp_path: Path) -> None:
    fewer = dataclasses.replace(DECLARED, arms=("none", "l1"), seeds=(0, 1))
    assert agreed_analysis(finish(tmp_path), record(), fewer, None) == (DECLARED, ())
    after, (amendment,) = agreed_analysis(tmp_path, record(), fewer, "the budget is spent")
    assert (after.arms, after.dropped_arms, after.seeds, after.tests) == (("none", "l1"), ("l2",), (0, 1, 2), 2)
    assert amendment.after == after
    with pytest.raises(ValueError, match="none of the declared seeds"):
        agreed_analysis(tmp_path, record(), dataclasses.replace(DECLARED, seeds=(7, 8)), "others")
    with pytest.raises(ValueError, match="--amend: the reason is empty"):
        agreed_analysis(tmp_path, record(), fewer, " ")


def test_an_amendment_without_effect_says_so(tmp_path: Path) -> None:
    tiny = study(seeds=2)
    save_record(plan(tmp_path, tiny), agreed_record(plan(tmp_path, tiny)))
    recorded = read_record(tmp_path / "tiny")
    more = plan(tmp_path, study(seeds=3), "more seeds")
    assert idle_amendment(recorded, agreed_record(more)).startswith("--amend: nothing to amend, as no result has followed")
    assert idle_amendment(None, agreed_record(more)).startswith("--amend: nothing to amend, as no result has followed")
    finish(tmp_path / "tiny")
    one_arm = dataclasses.replace(plan(tmp_path, tiny, "l2 alone"), selection=Selection(arm="l2"))
    assert idle_amendment(recorded, agreed_record(one_arm)).startswith(
        "--amend: changes nothing, as the request has the declared analysis."
    )
    assert idle_amendment(recorded, agreed_record(more)) == ""
    for run in tiny.runs():
        (run.directory(tmp_path / "tiny")).mkdir(parents=True, exist_ok=True)
        (run.directory(tmp_path / "tiny") / "result.json").write_text("{}")
    console = Console(file=io.StringIO(), width=200)
    assert prepare(one_arm, console) == []
    assert "--amend: changes nothing" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_folder_of_an_older_version_declares_its_next_request(tmp_path: Path) -> None:
    wanted = dataclasses.replace(DECLARED, metric="test/dice", seeds=(0, 1, 2, 3))
    assert agreed_analysis(finish(tmp_path), record(None), wanted, None) == (wanted, ())
    (line,) = new_declaration(record(None), record(wanted))
    assert line == ("study.json had no declared analysis, as in seglab 0.3; declared from now on: test/dice against none, 3 arms, 4 seeds")
    assert new_declaration(record(), record()) == new_declaration(None, record()) == []


def plan(root: Path, tiny: Study, amend: str | None = None) -> Plan:
    return Plan(tiny, root, Script(("script.py",)), Resources(accelerator="cpu"), amend=amend)


def test_a_redeclared_baseline_is_refused_and_the_identity_stays(tmp_path: Path) -> None:
    tiny = study(seeds=2)
    first = agreed_record(plan(tmp_path, tiny))
    assert first.analysis == Analysis("none", "test/miou", 0.005, 0.05, ("none", "l1", "l2"), (0, 1))
    save_record(plan(tmp_path, tiny), first)
    written = json.loads((tmp_path / "tiny" / "study.json").read_text())
    assert written["analysis"]["seeds"] == [0, 1]
    finish(tmp_path / "tiny")
    other = dataclasses.replace(tiny, baseline="l2", metric="test/dice", margin=0.01)
    with pytest.raises(ValueError, match=r"baseline: none → l2; metric: test/miou → test/dice; margin: 0.005 → 0.01"):
        agreed_record(plan(tmp_path, other))
    save_record(plan(tmp_path, other, "a typo"), agreed_record(plan(tmp_path, other, "a typo")))
    amended = read_record(tmp_path / "tiny")
    assert amended is not None
    assert (amended.baseline, amended.metric, len(amended.amendments)) == ("l2", "test/dice", 1)
    assert (amended.shared, amended.arms) == (first.shared, first.arms)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"looks": (2,)}, r"looks \[2\]: expected increasing numbers of seeds, from 1 to 1"),
        ({"looks": (0,)}, "looks"),
        ({"alpha": 0.7}, "alpha 0.7: expected a number above 0"),
        ({"margin": -1.0}, "margin -1.0: expected a number above 0"),
        ({"always_valid": True, "looks": (1,)}, "give one of the two"),
        ({"always_valid": True, "metric": "test/loss"}, "test/loss has none; give one"),
    ],
)
def test_an_analysis_that_cannot_be_declared(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(study(seeds=2), **values)  # type: ignore[arg-type]


def test_arms_start_in_a_drawn_order_that_stays() -> None:
    tiny = study(seeds=40)
    runs = tiny.runs()
    assert [run.seed for run in runs] == [seed for seed in range(40) for _ in range(3)]
    orders = [tuple(run.arm for run in runs if run.seed == seed) for seed in range(40)]
    assert all(sorted(order) == ["l1", "l2", "none"] for order in orders)
    assert len(set(orders)) == 6
    assert max(sum(order[0] == arm for order in orders) for arm in tiny.arms) <= 22  # of 13.3 expected; 0.4 % of all draws are above
    assert tiny.runs() == runs
    assert dataclasses.replace(tiny, arms=dict(reversed(list(tiny.arms.items())))).runs() == runs
