"""A tuning that is repeated: seeds and settings of each tuning, what is recorded, and what is refused.

Results are written by hand.
"""

import dataclasses
import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from seglab import Study, Tuned, halton_candidates
from seglab.compare import compare_folder, read_folder, wording
from seglab.compare.tuning import read_tuning
from seglab.records import Run, StudyRecord, identity, read_record
from seglab.running.plan import Plan, Selection
from seglab.script.dry_run import print_runs
from seglab.script.tuning import choices, final_plan, stages_of, tuning_plan
from seglab.study.arms import Chosen, arm_and_setting
from seglab.study.identity import check_same
from tests.study import tuned_experiment
from tests.study.test_tuning_rounds import DATA, SPACE, build, do, listed, rate, sequential
from tests.study.test_tuning_rounds import plan as plan_of


def drawn(place: int) -> Tuned:
    return Tuned.over(SPACE, halton_candidates(SPACE, 2, seed=place), build)


def plan(folder: Path, seeds: int = 4, final_round: int = 0) -> Plan:
    """Two tunings: the first under the seeds 10 and 11, the second under the next ones."""
    return plan_of(folder, lambda: listed(3), tunings=2, seeds=range(seeds), final_round=final_round)


def score(run: Run) -> float:
    """Best at a rate of 1e-4 in the first tuning of l2, and at 1e-1 everywhere else."""
    return 0.5 + (-rate(run) if run.arm.startswith("l2") and run.seed < 12 else rate(run))


def settings_of(study: Study) -> dict[str, str]:
    return {name: arm.setting for name, arm in study.each_arm.items() if isinstance(arm, Chosen)}


def test_each_tuning_has_seeds_of_its_own_and_each_seed_the_setting_of_its_tuning(tmp_path: Path) -> None:
    asked = plan(tmp_path)
    tried = do(tuning_plan(asked), score=score)
    assert {run.seed for run in tried if run.arm.startswith(("none@lr", "l2@lr"))} == {10, 11}
    assert {run.seed for run in tried if run.arm.startswith(("none@2@lr", "l2@2@lr"))} == {12, 13}
    assert len(tried) == 2 * 2 * 3 * 2
    final = final_plan(asked)
    assert settings_of(final.study) == {"none": "lr=1.00e-01", "none@2": "lr=1.00e-01", "l2": "lr=1.00e-04", "l2@2": "lr=1.00e-01"}
    modules = [final.study.factory(final.study.entry(Run("x", "l2", seed)))() for seed in range(4)]
    rates = [module.optimizer(module.parameter_groups()).param_groups[0]["lr"] for module in modules]
    assert rates == [1e-4, 1e-1, 1e-4, 1e-1]


def test_the_record_tells_the_settings_of_each_tuning_and_the_comparison_pairs_the_tunings(tmp_path: Path) -> None:
    asked = plan(tmp_path)
    do(tuning_plan(asked), score=score)
    do(final_plan(asked), score=lambda run: 0.5 + (0.01 * run.seed if run.arm == "l2" else 0.0))
    record = read_record(tmp_path / "x")
    assert record is not None
    assert (record.tunings, list(record.arms), record.arm_names) == (2, ["none", "none@2", "l2", "l2@2"], ("none", "l2"))
    study = read_folder(tmp_path / "x")
    assert len(study.results) == 8
    assert not study.problems
    identities = {result.run.seed: result.identity for result in study.results if result.run.arm == "l2"}
    assert identities[0] == identities[2] != identities[1] == identities[3]
    (contrast,) = compare_folder(study, study.criteria("val/miou")).contrasts
    assert (contrast.seeds, contrast.pairs) == ((0, 1, 2, 3), 2)
    assert contrast.difference == pytest.approx(0.015)
    assert contrast.sd_difference == pytest.approx(0.01 / 2**0.5)  # of the means .01 and .02
    said = wording.tuning(record)
    assert said is not None
    assert "2 times, each time under seeds of its own" in said
    assert "Every p holds over seeds and tunings" in said
    tuning = read_tuning(tmp_path / "x", record)
    assert tuning is not None
    assert [choice.arm for choice in tuning.choices] == ["none", "none@2", "l2", "l2@2"]
    assert list(tuning.curves) == ["none", "l2"]


def test_a_run_whose_tuning_has_another_setting_is_refused(tmp_path: Path) -> None:
    asked = plan(tmp_path)
    do(tuning_plan(asked), score=score)
    final = final_plan(asked)
    do(final, [Run("x", "l2", 0), Run("x", "l2", 1)], score=lambda run: 0.5)
    record = read_record(tmp_path / "x")
    assert record is not None
    check_same(record, final.study, Run("x", "l2", 1))
    other = final.study.with_settings({"l2@2": "lr=1.00e-04"})
    check_same(record, other, Run("x", "l2", 0))
    with pytest.raises(ValueError, match=r"arm l2@2: .*tuning.chosen: lr=1.00e-01 → lr=1.00e-04"):
        check_same(record, other, Run("x", "l2", 1))


def test_one_tuning_is_recorded_as_before(tmp_path: Path) -> None:
    asked = plan_of(tmp_path, lambda: listed(3), final_round=0)
    do(tuning_plan(asked))
    do(final_plan(asked), score=lambda run: 0.5)
    again = plan(tmp_path / "again")
    do(tuning_plan(again))
    one, two = (read_record(folder / "x" / "tuning") for folder in (tmp_path, tmp_path / "again"))
    assert one is not None
    assert two is not None
    assert (one.shared, set(one.arms)) == (two.shared, {name for name in two.arms if name.count("@") == 1})
    assert all(two.arms[name] == settings for name, settings in one.arms.items())  # the first tuning is the only one of a study with one
    record = read_record(tmp_path / "x")
    assert record is not None
    assert "tunings" not in record.shared["tuning"]


def test_each_run_can_be_repeated_by_its_command(tmp_path: Path) -> None:
    asked = plan(tmp_path, final_round=2)
    do(tuning_plan(asked), score=score)
    tuning = tuning_plan(asked)
    for run in tuning.all_runs:
        words_of = tuning.command(run)
        chosen = {flag: words_of[words_of.index(flag) + 1] for flag in ("--arm", "--setting", "--seed")}
        assert chosen["--arm"] in ("none", "l2")
        one = dataclasses.replace(tuning, selection=Selection(chosen["--arm"], chosen["--setting"], int(chosen["--seed"])))
        assert one.runs == [run]
    with pytest.raises(ValueError, match="seed 99: the tuning has the seeds 10, 11, 12, 13, 14, 15, 16, 17"):
        asked.study.tuning_runs("l2", "lr=1.00e-04", 99)
    selected = dataclasses.replace(asked, selection=Selection("l2"))
    assert {run.arm.split("@")[0] for run in tuning_plan(selected).runs} == {"l2"}


def test_a_sequential_search_proposes_for_each_tuning_from_its_own_scores(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    asked = plan_of(tmp_path, sequential, tunings=2, seeds=range(2), final_round=0)
    for _ in range(3):
        do(tuning_plan(asked, propose_more=True), score=score)
    study = tuning_plan(asked).tunes
    assert study is not None
    first, second = (study.tuned[name].settings for name in ("l2", "l2@2"))
    assert len(first) == len(second) == 6
    assert list(first)[:2] == list(second)[:2]
    assert list(first)[2:] != list(second)[2:]
    assert len(choices(asked.study, tmp_path / "x" / "tuning")) == 4


def test_the_dry_run_says_what_it_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_runs(stages_of(plan(tmp_path, final_round=2)))
    said = capsys.readouterr().out
    assert "2 tunings of each arm: 48 tuning runs in all (12 for each arm and tuning" in said
    assert "compete under the seeds 12, 13 in the first of 2 tunings" in said
    assert "planned: 2 tunings and 1 contrast can show no difference, however large: 6 tunings could" in said


def test_candidates_of_a_tuning_are_its_own() -> None:
    first, second, again = (halton_candidates(SPACE, 4, seed=seed) for seed in (1, 2, 1))
    assert first == again != second
    assert halton_candidates(SPACE, 4) not in (first, second)
    spread = sorted(float(values["lr"]) for values in halton_candidates(SPACE, 16, seed=3))
    assert max(b / a for a, b in itertools.pairwise(spread)) < 10  # 16 points over 3 decades leave no decade empty


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seeds": range(3)}, r"tunings 2: seed s belongs to tuning s mod 2, and 3 seeds \(0, 1, 2\) are not evenly distributed"),
        ({"seeds": range(4), "looks": (3,)}, r"3 seeds \(0, 1, 2\) are not evenly distributed"),
        ({"tunings": 0}, "tunings 0: must be 1, or the number"),
        ({"always_valid": True}, "always_valid and tunings 2"),
        ({"arms": {"none": [listed(3)] * 3, "l2": listed(3)}}, "arm 'none': is a list of 3, and tunings is 2"),
        ({"arms": {"none": lambda: None, "l2": lambda: None}}, "tunings 2: an arm is not tuned, so there is nothing to repeat"),
        ({"arms": {"none": listed(3), "l2@1": listed(3)}}, "arm 'l2@1': @ stands between arm and tuning"),
        ({"arms": {"none": [listed(3), listed(2)], "l2": listed(3)}}, "here are: none 3, none@2 2, l2 3, l2@2 3"),
        ({"tuning_folds": 2, "final_round": 3}, "give 2 successive seeds by final_round"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(plan(tmp_path).study, **fields)  # type: ignore[arg-type]


def test_a_list_needs_several_tunings() -> None:
    arms: dict[str, Sequence[Tuned]] = {"none": [drawn(0), drawn(1)], "l2": [drawn(0), drawn(1)]}
    with pytest.raises(ValueError, match="arm 'none': is a list of 2, and tunings is 1"):
        Study("x", DATA, 1, range(2), "none", arms)
    assert Study("x", DATA, 1, range(2), "none", arms, tunings=2).budget == 2


def test_choice_json_names_the_seeds_of_each_tuning(tmp_path: Path) -> None:
    from seglab.script.tuning import _write_choices

    asked = plan(tmp_path)
    do(tuning_plan(asked), score=score)
    place = tmp_path / "x" / "tuning"
    _write_choices(asked.study, choices(asked.study, place), place)
    arms = json.loads((place / "choice.json").read_text())["arms"]
    assert list(arms["l2"]["candidates"]["lr=1.00e-04"]["scores"]) == ["10", "11"]
    assert list(arms["l2@2"]["candidates"]["lr=1.00e-04"]["scores"]) == ["12", "13"]


@pytest.mark.weekly
def test_real_runs_of_two_tunings(tmp_path: Path) -> None:
    flags = ["--root", str(tmp_path), "--tunings", "2", "--seeds", "2", "--try_arms", "false", "--wandb", "disabled"]
    command = [sys.executable, tuned_experiment.__file__, "run", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "tuned"
    assert len(list(folder.glob("tuning/*/*/result.json"))) == 2 * 3 * 2  # one of the four settings diverges
    study = read_folder(folder)
    assert study.record is not None
    assert [result.identity for result in study.results] == [identity(study.record, result.run) for result in study.results]
    (contrast,) = compare_folder(study).contrasts
    assert (len(study.results), contrast.pairs) == (4, 2)
    again = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert "4 runs, 4 done, 0 to do" in again.stdout, again.stdout + again.stderr
    (seed,) = {path.parent.name for path in folder.glob("tuning/none@2@lr=1e-2/*/result.json")} - {"seed-1003"}
    assert seed == "seed-1002"


def test_a_record_without_tuning_has_one() -> None:
    assert StudyRecord("x", "none", "test/miou", {"tuning": None}, {"none": {}, "l2@2": {}}).arm_names == ("none", "l2@2")
    assert arm_and_setting("l2@2@lr=1") == ("l2@2", "lr=1")
