"""The rounds of a tuning: a final round of the best settings, proposals of a sequential search, and folds.

Results are written by hand.
"""

import dataclasses
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from rich.console import Console

from seglab import (
    AdamW,
    CrossEntropy,
    LinearRange,
    LogRange,
    SegmentationDataModule,
    SegmentationModule,
    Shapes,
    Study,
    Tuned,
    grid_candidates,
)
from seglab.compare.tuning import read_tuning
from seglab.data import SPLITS, Folds
from seglab.records import Result, Run, identity, read_record, write_json, write_result
from seglab.running.plan import Plan, Script, Selection, agreed_record, check_shared, save_record
from seglab.running.resources import Resources
from seglab.script.dry_run import print_runs
from seglab.script.main import _retest
from seglab.script.preflight import check_training
from seglab.script.tuning import _write_choices, choices, final_plan, stages_of, tuning_plan
from seglab.study.arms import arm_and_setting
from tests.study.tiny_experiment import Small

DATA = SegmentationDataModule(Shapes(num_train=8, num_val=2, num_test=2, image_size=32, num_shapes=3), batch_size=4, num_workers=0)
SPACE = {"lr": LogRange(1e-4, 1e-1)}
RESULT = Result(Run("x", "y", 0), "", ("a",), {}, {}, {"val": {"iou": (0.5,)}}, {"seconds": 1.0}, None, "0.1.0")


def build(values: Mapping[str, float | str]) -> SegmentationModule:
    return SegmentationModule(
        Small(DATA.num_classes, 0.1), CrossEntropy(), num_classes=DATA.num_classes, optimizer=AdamW(float(values["lr"]))
    )


def listed(count: int) -> Tuned:
    return Tuned.over(SPACE, grid_candidates(SPACE, count), build)


def sequential() -> Tuned:
    return Tuned.sequential(SPACE, 6, build, rounds=3)


def plan(folder: Path, tuned: Callable[[], Tuned], **fields: object) -> Plan:
    study = Study("x", DATA, 1, range(2), "none", {"none": tuned(), "l2": tuned()}, tuning_seeds=(10, 11), final_round=2)
    return Plan(dataclasses.replace(study, **fields), folder, Script(("x.py",)), Resources())  # type: ignore[arg-type]


def rate(run: Run) -> float:
    return float(arm_and_setting(run.arm)[1].removeprefix("lr="))


def score(run: Run) -> float:
    """Best at a rate of 1e-2, and better in the final round of `l2` at 1e-3."""
    bonus = 0.5 if run.arm.startswith("l2") and rate(run) == 1e-3 and run.seed > 11 else 0.0
    return 0.4 - 0.1 * abs(math.log10(rate(run)) + 2) + bonus


def do(plan: Plan, runs: list[Run] | None = None, score: Callable[[Run], float] = score) -> list[Run]:
    """Do what `run` does with a plan's open runs, without training: record the arms, then write results.

    NaN has diverged.
    """
    save_record(plan, agreed_record(plan))
    record = read_record(plan.folder)
    assert record is not None
    todo = plan.unsettled if runs is None else runs
    for run in todo:
        directory = run.directory(plan.folder)
        directory.mkdir(parents=True, exist_ok=True)
        if math.isnan(value := score(run)):
            write_json(directory / "failure.json", {"error": "NonFiniteLossError: the training loss is NaN"})
        else:
            write_result(
                directory / "result.json", dataclasses.replace(RESULT, run=run, identity=identity(record, run), val={"miou": value})
            )
    return todo


def tuned_seeds(runs: list[Run], arm: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for run in runs:
        if run.arm.startswith(f"{arm}@"):
            found.setdefault(arm_and_setting(run.arm)[1], []).append(run.seed)
    return found


def test_the_best_three_compete_under_other_seeds(tmp_path: Path) -> None:
    asked = plan(tmp_path, lambda: listed(4))
    first = do(tuning_plan(asked))
    assert tuned_seeds(first, "l2") == {f"lr=1.00e-0{power}": [10, 11] for power in (4, 3, 2, 1)}
    assert choices(asked.study, tmp_path / "x" / "tuning") == []
    with pytest.raises(ValueError, match="arm none has no setting yet, as its tuning is not complete"):
        final_plan(dataclasses.replace(asked, selection=dataclasses.replace(asked.selection, seed=0)))
    last = do(tuning_plan(asked))
    assert tuned_seeds(last, "l2") == {f"lr=1.00e-0{power}": [12, 13] for power in (3, 2, 1)}
    none, l2 = choices(asked.study, tmp_path / "x" / "tuning")
    assert none.best is not None
    assert none.best.setting == "lr=1.00e-02"
    assert l2.best is not None
    assert l2.best.setting == "lr=1.00e-03"
    assert l2.best.mean == pytest.approx((0.3 + 0.3 + 0.8 + 0.8) / 4)
    assert tuning_plan(asked).unsettled == []
    assert final_plan(asked).study.tuned["l2"].finalists == ("lr=1.00e-03", "lr=1.00e-02", "lr=1.00e-01")
    assert {run.name for run in final_plan(asked).runs} == {"x/none/s0", "x/l2/s0", "x/none/s1", "x/l2/s1"}


def test_no_final_round_where_nothing_is_to_be_decided(tmp_path: Path) -> None:
    asked = plan(tmp_path, lambda: listed(3))
    do(tuning_plan(asked), score=lambda run: math.nan if run.arm.startswith("l2") and rate(run) > 1e-3 else score(run))
    assert tuned_seeds(tuning_plan(asked).unsettled, "l2") == {}
    do(tuning_plan(asked), score=lambda run: math.nan if run.seed == 13 and rate(run) > 1e-3 else score(run))
    none, l2 = choices(asked.study, tmp_path / "x" / "tuning")
    assert l2.best is not None
    assert (l2.best.setting, len(l2.best.all)) == ("lr=1.00e-04", 2)
    assert none.best is not None
    assert none.best.setting == "lr=1.00e-04"  # the only finalist that has not diverged
    assert plan(tmp_path, lambda: listed(3), final_round=0).study.final_round_seeds == ()
    assert plan(tmp_path, lambda: Tuned({"one": lambda: build({"lr": 1e-3})})).study.final_round_seeds == ()


def test_a_run_of_the_final_round_is_asked_for_by_its_command(tmp_path: Path) -> None:
    asked = plan(tmp_path, lambda: listed(4))
    study = tuning_plan(asked).tunes
    assert study is not None
    with pytest.raises(ValueError, match=r"seed 12: is of the final round, and setting 'lr=1.00e-02' of arm 'l2' is not known to be in it"):
        study.tuning_runs("l2", "lr=1.00e-02", 12)
    with pytest.raises(ValueError, match="seed 12: is a seed of the tuning"):
        study.runs(seed=12)
    do(tuning_plan(asked))
    study = tuning_plan(asked).tunes
    assert study is not None
    assert [run.name for run in study.tuning_runs("l2", "lr=1.00e-02", 12)] == ["x-tuning/l2@lr=1.00e-02/s12"]
    with pytest.raises(ValueError, match="seed 14: the tuning has the seeds 10, 11, 12, 13"):
        study.tuning_runs(seed=14)


def test_an_old_tuning_goes_on_with_its_own_seeds(tmp_path: Path) -> None:
    old = plan(tmp_path, lambda: listed(2), final_round=0)
    do(tuning_plan(old))
    final = final_plan(old)
    do(final, score=lambda run: 0.5)
    record = read_record(final.folder)
    assert record is not None
    assert record.shared["tuning"] == {"metric": "val/miou", "seeds": [10, 11], "settings": 2}  # as seglab 0.3 wrote it
    assert final_plan(old).unsettled == []
    now = dataclasses.replace(final, study=dataclasses.replace(final.study, final_round=2))
    with pytest.raises(ValueError, match=r"tuning seeds 10, 11, with a final round of 0 seeds .* --tuning_seeds 2 --final_round 0"):
        check_shared(now)
    with pytest.raises(ValueError, match=r"tuning\.final_seeds: .*--tuning_seeds 2 --final_round 0"):
        stages_of(plan(tmp_path, lambda: listed(2)))  # `--dry_run` and `launch` refuse what `run` refuses


def test_a_final_round_has_no_more_settings_than_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_runs(stages_of(plan(tmp_path, lambda: listed(2))))
    assert "the best 2 of each arm compete under the seeds 12, 13" in capsys.readouterr().out


def test_ranges_are_recorded_and_change_no_run(tmp_path: Path) -> None:
    asked = plan(tmp_path, lambda: listed(2), final_round=0)
    do(tuning_plan(asked))
    record = agreed_record(final_plan(asked))
    assert record.arms["l2"]["display"]["space"] == {"lr": {"scale": "log", "low": 1e-4, "high": 1e-1}}
    plain = {arm: Tuned(tuned.settings) for arm, tuned in asked.study.tuned.items()}
    other = agreed_record(final_plan(dataclasses.replace(asked, study=asked.study.with_tuned(plain))))
    assert "display" not in other.arms["l2"]
    assert identity(other, Run("x", "l2", 0)) == identity(record, Run("x", "l2", 0))


def test_folds_take_turns_by_tuning_seed(tmp_path: Path) -> None:
    asked = plan(tmp_path, lambda: listed(2), tuning_seeds=range(10, 15), final_round=5, tuning_folds=5)
    tuning = tuning_plan(asked)
    save_record(tuning, agreed_record(tuning))
    held: list[str] = []
    for job in [job for job in tuning.jobs() if job.run.arm == "l2@lr=1.00e-04"]:
        data = job.seeded_data()
        train, val, test = ([sample.name for sample in map(data.used(split).__getitem__, range(len(data.used(split))))] for split in SPLITS)
        assert (len(train), len(val), test) == (8, 2, ["test/0", "test/1"])
        assert not set(train) & set(val)
        held += val
    assert sorted(held) == sorted([f"train/{place}" for place in range(8)] + ["val/0", "val/1"])
    assert asked.study.data.source == DATA.source  # the final runs have the split of the source
    record = read_record(tuning.folder)
    assert record is not None
    assert record.shared["data"]["source"]["folds"] == 5


def test_folds_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tuning_folds 3 with the tuning seeds 10, 11: each fold has to validate equally often"):
        plan(tmp_path, lambda: listed(2), tuning_folds=3)
    with pytest.raises(ValueError, match="tuning_folds 1: expected at least 2"):
        plan(tmp_path, lambda: listed(2), tuning_folds=1)
    noisy = SegmentationDataModule(Shapes(num_train=8, label_noise=0.1))
    with pytest.raises(ValueError, match="Shapes has other masks or images for training than for validation"):
        plan(tmp_path, lambda: listed(2), tuning_folds=2, data=noisy).study.tuning()
    with pytest.raises(ValueError, match="3 samples for 5 folds; expected at least one a fold"):
        Folds(Shapes(num_train=2, num_val=1), 5).split("val")


def test_a_space_that_cannot_be_searched_is_refused() -> None:
    with pytest.raises(ValueError, match=r"LogRange\(0, 1\): expected 0 < low < high"):
        LogRange(0, 1)
    with pytest.raises(ValueError, match=r"LinearRange\(1, 1\): expected low < high"):
        LinearRange(1, 1)
    with pytest.raises(ValueError, match="has not the dimensions of the search space, lr"):
        Tuned.over(SPACE, [{"rate": 1e-3}], build)
    with pytest.raises(ValueError, match="the search space is empty"):
        Tuned.over({}, [{}], build)
    with pytest.raises(ValueError, match=r"only an arm of Tuned.sequential takes more settings"):
        listed(2).extended([{"lr": 1e-3}])


class TestSequential:
    """Proposals by Optuna."""

    @pytest.fixture(autouse=True)
    def optuna(self) -> None:
        pytest.importorskip("optuna")

    def test_rounds_are_recorded_and_end_with_the_budget(self, tmp_path: Path) -> None:
        asked = plan(tmp_path, sequential)
        assert asked.study.budget == 6
        numbers = []
        while todo := do(tuning_plan(asked, propose_more=True)):
            numbers.append(len(tuned_seeds(todo, "l2")))
        assert numbers == [2, 2, 2, 3]
        record = read_record(tmp_path / "x" / "tuning")
        assert record is not None
        for name, described in record.arms.items():
            assert f"{described['display']['values']['lr']:.2e}" == arm_and_setting(name)[1].removeprefix("lr=")
            assert described["optimizer"]["lr"] == described["display"]["values"]["lr"]
        assert [len(choice.candidates) for choice in choices(asked.study, tmp_path / "x" / "tuning")] == [6, 6]
        assert agreed_record(final_plan(asked)).shared["tuning"]["settings"] == 6

    @pytest.mark.slow
    def test_a_killed_search_goes_on_with_the_same_proposals(self, tmp_path: Path) -> None:
        """Killed after it had recorded a round, with one run done; or before it had recorded the round."""
        whole, killed = plan(tmp_path / "a", sequential), plan(tmp_path / "b", sequential)
        for asked in (whole, killed):
            do(tuning_plan(asked))
        second = tuning_plan(killed, propose_more=True)
        assert second.runs == tuning_plan(killed, propose_more=True).runs
        do(second, second.unsettled[:1])
        assert tuning_plan(killed).runs == second.runs  # a worker's
        for asked in (whole, killed):
            while do(tuning_plan(asked, propose_more=True)):
                pass
        assert [list(tuning_plan(asked).study.arms) for asked in (whole, killed)] == [list(tuning_plan(whole).study.arms)] * 2

    def test_a_worker_proposes_nothing_itself(self, tmp_path: Path) -> None:
        asked = plan(tmp_path, sequential)
        do(tuning_plan(asked))
        assert tuning_plan(asked).unsettled == []
        assert len(tuning_plan(asked, propose_more=True).unsettled) == 2 * 2 * 2

    def test_recorded_proposals_hold_even_if_others_would_be_made_now(self, tmp_path: Path) -> None:
        """As by another version of Optuna."""
        asked = plan(tmp_path, sequential)
        do(tuning_plan(asked))
        recorded = do(tuning_plan(asked, propose_more=True))
        other = plan(tmp_path, lambda: Tuned.sequential(SPACE, 6, build, rounds=3, seed=77))
        assert {run.arm for run in recorded} <= set(tuning_plan(other).study.arms)

    @pytest.mark.slow
    def test_an_arm_alone_gets_the_same_proposals(self, tmp_path: Path) -> None:
        asked = plan(tmp_path / "a", sequential)
        alone = dataclasses.replace(plan(tmp_path / "b", sequential), selection=dataclasses.replace(asked.selection, arm="l2"))
        for one in (asked, alone):
            while do(tuning_plan(one, propose_more=True)):
                pass
        settings = [[name for name in tuning_plan(one).study.arms if name.startswith("l2@")] for one in (asked, alone)]
        assert settings[0] == settings[1]

    def test_another_search_is_refused(self, tmp_path: Path) -> None:
        asked = plan(tmp_path, sequential)
        do(tuning_plan(asked))
        do(tuning_plan(asked, propose_more=True))
        more = plan(tmp_path, lambda: Tuned.sequential(SPACE, 9, build, rounds=3))
        with pytest.raises(ValueError, match=r"arm none: settings: lr=3\.16e-03, .* → "):
            agreed_record(tuning_plan(more, propose_more=True))

    def test_unequal_budgets_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"equal tuning budget .*: none 6, l2 4"):
            Study("x", DATA, 1, range(2), "none", {"none": sequential(), "l2": listed(4)})
        with pytest.raises(ValueError, match="2 trials in 3 rounds; expected 2 rounds or more, and a trial or more in each"):
            Tuned.sequential(SPACE, 2, build)


def test_without_optuna_a_sequential_search_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(__import__("sys").modules, "optuna", raising=False)
    with pytest.raises(ValueError, match=r"needs Optuna, which is not installed: pip install 'seglab\[tuning\]'"):
        sequential()


def test_one_network_for_all_settings_under_one_seed() -> None:
    """Here a candidate's values change only the optimizer, so all settings have equal weights under one seed."""
    weights = []
    for factory in listed(2).settings.values():
        torch.manual_seed(0)
        weights.append(torch.cat([parameter.flatten() for parameter in factory().parameters()]))
    assert torch.equal(*weights)


def diverging(run: Run) -> float:
    return math.nan if run.arm.startswith("l2") else score(run)


def test_an_arm_whose_every_setting_diverged_has_no_final_round_to_come(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = plan(tmp_path, lambda: listed(2))
    for _ in range(2):
        do(tuning_plan(asked), score=diverging)
    print_runs([tuning_plan(asked)])
    assert "when all settings have been tried" not in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"arm l2 has no setting, as all 2 have diverged; give it others, under another --name$"):
        final_plan(dataclasses.replace(asked, selection=Selection(arm="l2", seed=0)))
    do(final_plan(dataclasses.replace(asked, selection=Selection(arm="none"))), score=lambda run: 0.5)
    found = read_tuning(asked.folder, read_record(asked.folder))
    assert found is not None
    assert "tuning of l2: all 2 settings have diverged, so that it has no run; give it others, under another --name" in found.notes


def test_an_arm_whose_tuning_is_not_complete_is_named(tmp_path: Path) -> None:
    asked = plan(tmp_path, lambda: listed(2))
    runs = tuning_plan(asked)
    do(runs, [run for run in runs.runs if run.arm.startswith("none") or run.seed != runs.runs[0].seed])
    do(tuning_plan(asked), [run for run in tuning_plan(asked).runs if run.arm.startswith("none")])
    do(final_plan(dataclasses.replace(asked, selection=Selection(arm="none"))), score=lambda run: 0.5)
    found = read_tuning(asked.folder, read_record(asked.folder))
    assert found is not None
    assert "tuning of l2: is not complete, so that it has no run; `run` again goes on with it" in found.notes
    damaged = next(asked.folder.glob("tuning/l2@*/seed-*/result.json"))
    damaged.write_text("{")
    do(runs, [run for run in runs.runs if not run.directory(runs.folder).joinpath("result.json").exists()])
    found = read_tuning(asked.folder, read_record(asked.folder))
    assert found is not None
    assert any(line.startswith(f"tuning of l2: {damaged}: ") for line in found.notes)


def test_a_seed_needs_the_setting_of_its_own_tuning_alone(tmp_path: Path) -> None:
    asked = plan(tmp_path, lambda: listed(2), tunings=2, final_round=0)
    own = [run for run in tuning_plan(asked).runs if not run.arm.startswith(("none@2@", "l2@2@"))]
    do(tuning_plan(asked), own)
    assert len(final_plan(dataclasses.replace(asked, selection=Selection(seed=0))).runs) == 2
    with pytest.raises(ValueError, match=r"arm none@2 has no setting yet, .*`run` without --seed tunes first"):
        final_plan(dataclasses.replace(asked, selection=Selection(seed=1)))


def same_settings() -> Tuned:
    return Tuned({"lr=1e-3": lambda: build({"lr": 1e-3}), "lr=1e-2": lambda: build({"lr": 1e-3}), "lr=1e-1": lambda: build({"lr": 1e-1})})


def test_settings_that_are_the_same_are_noted_before_and_after_their_training(tmp_path: Path) -> None:
    """As a lambda in a loop gives them, which sees the last value of the loop."""
    asked = plan(tmp_path, same_settings, final_round=0)
    runs, said = tuning_plan(asked), io.StringIO()
    check_training(dataclasses.replace(runs, try_arms=False), agreed_record(runs), Console(file=said, width=1000))
    assert "note: none@lr=1e-3, none@lr=1e-2 have the same settings, and train the same network" in said.getvalue()
    assert said.getvalue().count("have the same settings") == 2
    do(runs)
    do(final_plan(asked), score=lambda run: 0.5)
    found = read_tuning(asked.folder, read_record(asked.folder))
    assert found is not None
    assert [note.split(",")[0] for note in found.notes if "have the same settings" in note] == [
        "tuning of none: lr=1e-3",
        "tuning of l2: lr=1e-3",
    ]


class NotANumber(torch.nn.Module):
    def forward(self, logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return logits.mean() * math.nan


def with_nan_loss(values: Mapping[str, float | str]) -> SegmentationModule:
    return SegmentationModule(Small(DATA.num_classes, 0.1), NotANumber(), num_classes=DATA.num_classes)


@pytest.mark.parametrize(("diverging", "said"), [(build, "logits are NaN"), (with_nan_loss, "loss is nan")])
def test_a_setting_may_diverge_in_the_trial_while_another_one_trains(
    tmp_path: Path, diverging: Callable[[Mapping[str, float | str]], SegmentationModule], said: str
) -> None:
    """A setting that diverges is not chosen. If all diverge, nothing can be chosen."""
    settings = {"slow": lambda: build({"lr": 1e-3}), "fast": lambda: diverging({"lr": 1e30}), "faster": lambda: diverging({"lr": 2e30})}
    runs, output = tuning_plan(plan(tmp_path, lambda: Tuned(settings))), io.StringIO()
    check_training(runs, agreed_record(runs), Console(file=output, width=1000))
    assert "note: none@fast, none@faster, l2@fast, l2@faster: diverged in the first step" in output.getvalue()
    del settings["slow"]
    alone = tuning_plan(plan(tmp_path, lambda: Tuned(settings)))
    with pytest.raises(ValueError, match=said) as refused:
        check_training(alone, agreed_record(alone), Console(file=io.StringIO()))
    assert "arms none@fast, none@faster, l2@fast, l2@faster" in refused.value.__notes__


def test_a_damaged_choice_is_written_again(tmp_path: Path) -> None:
    asked = plan(tmp_path, lambda: listed(2))
    runs = tuning_plan(asked)
    do(runs)
    (runs.folder / "choice.json").write_bytes(b"\xc4\xff")
    _write_choices(asked.study, choices(asked.study, runs.folder), runs.folder)
    assert (runs.folder / "choice.json").read_text().startswith("{")


def test_a_tuning_run_is_not_scored_on_the_test_split(tmp_path: Path) -> None:
    asked = plan(tmp_path, lambda: listed(2), final_round=0)
    chosen = dataclasses.replace(asked, selection=Selection("none", next(iter(listed(2).settings)), 10))
    with pytest.raises(ValueError, match="is a tuning run, which is never scored on the test split; `seglab validate`"):
        _retest(chosen, "test", Console(file=io.StringIO()))
