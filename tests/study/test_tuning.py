"""An equal tuning budget: settings tried under seeds of their own, chosen on `val`, trained under the study's seeds.

End to end.
"""

import dataclasses
import json
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from seglab import SegmentationDataModule, Shapes, Study, cli
from seglab.records import Result, Run, StudyRecord, identity, read_record, read_result, write_json, write_record, write_result
from seglab.script.main import main
from seglab.script.tuning import choices
from seglab.study.arms import Tuned
from tests.study import tuned_experiment
from tests.study.scripts import SCRIPT

TUNED = str(SCRIPT.with_name("tuned_experiment.py"))
SEEDS = (1000, 1001)
RESULT = Result(Run("x", "y", 0), "", ("a",), {}, {}, {"val": {"iou": (0.5,)}}, {"seconds": 1.0}, None, "0.1.0")


class Said(NamedTuple):
    """End of a command, and what it printed."""

    code: int
    out: str
    err: str


Here = Callable[..., Said]


def command_line(folder: Path, capture: pytest.CaptureFixture[str] | None, *words: object) -> Said:
    """The script in `folder`, in this process; its workers are processes of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(sys, "argv", [TUNED, *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main(tuned_experiment.study)
    assert isinstance(ended.value.code, int)
    return Said(ended.value.code, *(("", "") if capture is None else capture.readouterr()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the whole study has run. Tests that change it copy it."""
    place = tmp_path_factory.mktemp("tuned")
    assert command_line(place, None, "run", "--wandb", "disabled").code == 0
    return place


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Here:
    """The script in a folder, and what it prints."""

    def run(folder: Path, *words: object) -> Said:
        capfd.readouterr()
        return command_line(folder, capfd, *words)

    return run


def snapshot(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != "report.html"}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def words_of(run: Path) -> list[str]:
    """The recorded command of a run, without `python` and the script."""
    words: list[str] = yaml.safe_load((run / "settings.yaml").read_text())["command"][2:]
    return words


def tuned(**counts: int) -> dict[str, Tuned]:
    study = tuned_experiment.study(SegmentationDataModule(Shapes(num_train=4)))
    factory = study.tuning().arms["none@lr=1e-2"]
    return {arm: Tuned({f"s{number}": factory for number in range(count)}) for arm, count in counts.items()}  # type: ignore[misc]


def made(**fields: Any) -> Study:
    given: dict[str, Any] = {"epochs": 1, "seeds": range(3), "baseline": "none", "arms": tuned(none=2, l2=2)}
    return Study("x", data=SegmentationDataModule(Shapes(num_train=4)), **{**given, **fields})


def test_unequal_budgets_are_refused() -> None:
    with pytest.raises(ValueError, match=r"equal tuning budget .*: none 2, l2 3, l1 2"):
        made(arms=tuned(none=2, l2=3, l1=2))


def test_an_untuned_arm_beside_tuned_ones_is_refused() -> None:
    with pytest.raises(ValueError, match=r"none: not tuned beside tuned arms.* wrap it: Tuned\(.* with 2 settings"):
        made(arms={**tuned(l2=2), "none": lambda: None})


def test_tuning_seeds_are_not_those_of_the_study() -> None:
    with pytest.raises(ValueError, match=r"tuning seeds 2, 3, 4, 5, 6, 7, 8: 2 of them are seeds of the study"):
        made(tuning_seeds=(2, 3))
    with pytest.raises(ValueError, match=r"tuning seeds \[7, 7\]: they must be all different"):
        made(tuning_seeds=(7, 7))
    with pytest.raises(ValueError, match="no tuning seeds"):
        made(tuning_seeds=())
    assert Study("x", SegmentationDataModule(Shapes(num_train=4)), 1, range(2000), "a", {"a": lambda: None}).budget is None  # type: ignore[dict-item, return-value]


@pytest.mark.parametrize("metric", ["test/miou", "val/loss", "val/calibration_error", "cost/seconds", "train/loss"])
def test_a_setting_is_chosen_by_a_score_on_val(metric: str) -> None:
    with pytest.raises(ValueError, match=f"tuning metric '{metric}': .*never on the test split"):
        made(tuning_metric=metric)


def test_a_malformed_metric_is_refused_before_anything_is_trained() -> None:
    for field in ("metric", "tuning_metric"):
        with pytest.raises(ValueError, match=r"metric 'miou': expected SPLIT/SCORE, .*such as test/miou"):
            made(**{field: "miou"})


def test_names() -> None:
    with pytest.raises(ValueError, match="setting 'a@b': @ stands between"):
        Tuned({"a@b": lambda: None})  # type: ignore[dict-item, return-value]
    with pytest.raises(ValueError, match="setting 'a/b': a name"):
        Tuned({"a/b": lambda: None})  # type: ignore[dict-item, return-value]
    with pytest.raises(ValueError, match="no settings"):
        Tuned({})
    with pytest.raises(ValueError, match="arm 'tuning': is the folder"):
        made(arms=tuned(none=2, tuning=2))
    assert [run.name for run in made(arms=tuned(**{"a@b": 1, "none": 1})).tuning_runs("a@b", seed=1000)] == ["x-tuning/a@b@s0/s1000"]


def drawn(folder: Path, scores: dict[str, tuple[float | None, ...]]) -> list[Any]:
    """The choices on tuning runs of these scores; None has diverged, and what is not there has not ended."""
    study = tuned_experiment.study(SegmentationDataModule(Shapes(num_train=4)))
    record = StudyRecord("tuned-tuning", "none@lr=1e-4", "val/miou", {}, {arm: {} for arm in study.tuning().arms})
    folder.mkdir()
    write_record(folder, record)
    for arm, values in scores.items():
        for seed, value in zip(SEEDS, values, strict=False):
            run = Run("tuned-tuning", arm, seed)
            run.directory(folder).mkdir(parents=True)
            if value is None:
                write_json(run.directory(folder) / "failure.json", {"error": "NonFiniteLossError: the training loss is NaN"})
            else:
                found = dataclasses.replace(
                    RESULT, run=run, identity=identity(record, run), val={"miou": value, "dice": 1 - value}, test={"miou": 1 - value}
                )
                write_result(run.directory(folder) / "result.json", found)
    return choices(study, folder)


def test_a_setting_that_diverged_once_is_not_chosen(tmp_path: Path) -> None:
    good = {"none@lr=1e-4": (0.5, 0.4), "none@lr=1e-2": (0.4, 0.5)}
    first, second = drawn(tmp_path / "a", {**good, "l2@lr=1e-2": (0.9, None), "l2@lr=1e9": (0.1, 0.2)})
    assert first.best.setting == "lr=1e-4"  # of equals the first
    assert second.best.setting == "lr=1e9"
    assert second.expected_best == [float("-inf"), pytest.approx(0.15)]
    assert [choice.arm for choice in drawn(tmp_path / "b", {**good, "l2@lr=1e-2": (0.9, 0.8), "l2@lr=1e9": (0.1,)})] == ["none"]
    hopeless = drawn(tmp_path / "c", {"l2@lr=1e-2": (0.9, None), "l2@lr=1e9": (None, None)})
    assert [(choice.arm, choice.best) for choice in hopeless] == [("l2", None)]


def test_a_dry_run_lists_both_stages_and_writes_nothing(tmp_path: Path, here: Here) -> None:
    said = here(tmp_path, "run", "--dry_run")
    assert said.code == 0, said.err
    assert said.out.index("runs/tuned/tuning: 8 runs") < said.out.index("runs/tuned: 2 runs")
    assert said.out.count("to be chosen") == 2
    commands = [line for line in said.out.splitlines() if line.startswith("python ")]
    assert [line.endswith("--arm l2 --setting lr=1e9 --seed 1001") for line in commands[:8]] == [False] * 7 + [True]
    assert [line.split()[-4:] for line in commands[8:]] == [["--arm", "none", "--seed", "0"], ["--arm", "l2", "--seed", "0"]]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--arm", "l2", "--seed", "0"], ("arm l2 has no setting yet", "tuning is not complete", "without --seed tunes first")),
        (["--seed", "1000"], ("seed 1000: is a seed of the tuning", "--setting")),
        (["--setting", "lr=1e-2"], ("--setting lr=1e-2", "--arm")),
        (["--arm", "l2", "--setting", "lr=1e-3"], ("unknown setting 'lr=1e-3'", "did you mean lr=1e-2?", "lr=1e-2, lr=1e9")),
        (["--arm", "l2", "--setting", "lr=1e-2", "--seed", "3"], ("seed 3", "the tuning has the seeds 1000, 1001")),
        (["--arm", "l3"], ("unknown arm 'l3'",)),
    ],
)
def test_one_line_that_helps(tmp_path: Path, here: Here, words: list[str], expected: tuple[str, ...]) -> None:
    said = here(tmp_path, "run", *words)
    assert (said.code, said.err.count("\n")) == (2, 1), said.err
    for part in expected:
        assert part in said.err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_choice_follows_from_the_results(finished: Path) -> None:
    """By hand, from the files."""
    folder = finished / "runs" / "tuned" / "tuning"
    written = load(folder / "choice.json")
    assert (written["metric"], written["seeds"]) == ("val/miou", list(SEEDS))
    means = {}
    for setting in ("lr=1e-4", "lr=1e-2"):
        scores = [load(folder / f"none@{setting}" / f"seed-{seed}" / "result.json")["val"]["miou"] for seed in SEEDS]
        told = written["arms"]["none"]["candidates"][setting]
        assert told["scores"] == dict(zip(map(str, SEEDS), scores, strict=True))
        assert told["mean"] == pytest.approx(statistics.mean(scores))
        assert told["sd"] == pytest.approx(statistics.stdev(scores))
        means[setting] = statistics.mean(scores)
    none = written["arms"]["none"]
    assert none["setting"] == max(means, key=lambda setting: means[setting])
    assert (none["n"], none["mean"]) == (2, pytest.approx(max(means.values())))
    assert none["expected_best"] == [pytest.approx(statistics.mean(means.values())), pytest.approx(max(means.values()))]


@pytest.mark.slow
def test_the_setting_that_diverges_is_not_chosen_and_not_repeated(finished: Path) -> None:
    folder = finished / "runs" / "tuned" / "tuning"
    l2 = load(folder / "choice.json")["arms"]["l2"]
    assert l2["setting"] == "lr=1e-2"
    assert l2["candidates"]["lr=1e9"] == {"mean": None, "sd": None, "n": 0, "scores": {"1000": None, "1001": None}}
    assert [path.name for path in (folder / "l2@lr=1e9" / "seed-1000").glob("lease.*")] == ["lease.0"]


@pytest.mark.slow
def test_tuning_runs_never_see_the_test_split(finished: Path) -> None:
    runs = list((finished / "runs" / "tuned" / "tuning").glob("*/seed-*/result.json"))
    assert len(runs) == 6
    for path in runs:
        result = read_result(path)
        assert (dict(result.test), set(result.per_class)) == ({}, {"val"})
        assert "test/" not in (path.parent / "metrics.csv").read_text()
    assert "miou" in read_result(finished / "runs" / "tuned" / "l2" / "seed-0" / "result.json").test


def test_the_final_runs_have_the_chosen_setting(finished: Path) -> None:
    folder = finished / "runs" / "tuned"
    record = read_record(folder)
    assert record is not None
    assert record.shared["tuning"] == {"metric": "val/miou", "seeds": [1000, 1001], "settings": 2}
    for arm in ("none", "l2"):
        chosen = load(folder / "tuning" / "choice.json")["arms"][arm]["setting"]
        among = load(folder / "tuning" / "study.json")["arms"][f"{arm}@{chosen}"]
        trained = yaml.safe_load((folder / arm / "seed-0" / "settings.yaml").read_text())["arm"]
        assert trained.pop("tuning")["chosen"] == chosen
        assert trained == among
    assert record.arms["none"]["tuning"]["settings"] == ["lr=1e-4", "lr=1e-2"]
    assert record.arms["none"]["optimizer"]["lr"] == (0.01 if record.arms["none"]["tuning"]["chosen"] == "lr=1e-2" else 1e-4)


def test_the_second_time_does_nothing(finished: Path, here: Here) -> None:
    before = snapshot(finished)
    again = here(finished, "run", "--wandb", "disabled")
    assert again.code == 0, again.err
    assert "runs/tuned/tuning: 8 runs, 8 done, 0 to do" in again.out
    assert "runs/tuned: 2 runs, 2 done, 0 to do" in again.out
    assert again.out.count("│ chosen") == 2
    assert again.out.count("diverged, which counts as the worst") == 1  # for both seeds
    assert "Tuned: 2 settings each, on val mIoU over seeds 1000, 1001. Chosen: none lr=" in again.out
    assert "Tuned: 2 settings each" in (finished / "runs" / "tuned" / "report.html").read_text()
    assert snapshot(finished) == before


@pytest.mark.weekly
def test_the_recorded_commands_of_both_stages(copy: Path, here: Here) -> None:
    """Each repeats its run to the same numbers; a final run before its tuning is complete is refused."""
    tuning = copy / "runs" / "tuned" / "tuning" / "none@lr=1e-2" / "seed-1001"
    final = copy / "runs" / "tuned" / "none" / "seed-0"
    before, commands = {}, {}
    for run in (tuning, final):
        before[run], commands[run] = load(run / "result.json"), words_of(run)
        shutil.rmtree(run)
    early = here(copy, *commands[final])
    assert (early.code, early.out) == (2, "")
    assert "arm none has no setting yet" in early.err
    assert commands[tuning][-6:] == ["--arm", "none", "--setting", "lr=1e-2", "--seed", "1001"]
    for run, told in ((tuning, "runs/tuned/tuning: 1 run, 0 done, 1 to do"), (final, "runs/tuned: 1 run, 0 done, 1 to do")):
        pasted = here(copy, *commands[run], "--wandb", "disabled")
        assert pasted.code == 0, pasted.out + pasted.err
        assert told in pasted.out
        for field in ("val", "test", "per_class", "identity"):
            assert load(run / "result.json")[field] == before[run][field]


@pytest.mark.slow
def test_an_interrupted_tuning_goes_on(copy: Path, here: Here) -> None:
    """Killed in its tuning: some runs have ended, one has begun, and there is neither a choice nor a final run."""
    folder = copy / "runs" / "tuned"
    choice = (folder / "tuning" / "choice.json").read_text()
    begun = folder / "tuning" / "none@lr=1e-4" / "seed-1001"
    before = load(begun / "result.json")
    for path in (begun / "result.json", folder / "tuning" / "choice.json", folder / "study.json"):
        path.unlink()
    for arm in ("none", "l2"):
        shutil.rmtree(folder / arm)
    status = here(copy, "status")
    assert status.code == 0
    assert "runs/tuned/tuning: 5 of 8 runs done" in status.out
    assert "seed 1001: interrupted" in status.out
    compared = here(copy, "compare")
    assert (compared.code, "no finished run yet" in compared.out) == (1, True)
    again = here(copy, "run", "--arm", "none", "--wandb", "disabled")
    assert again.code == 0, again.out + again.err
    assert "runs/tuned/tuning: 4 runs, 3 done, 1 to do" in again.out
    assert "runs/tuned: 1 run, 0 done, 1 to do" in again.out
    assert load(begun / "result.json")["val"] == before["val"]
    assert (folder / "tuning" / "choice.json").read_text() == choice
    assert not (folder / "l2").exists()


def test_another_set_of_settings_is_refused(copy: Path, here: Here) -> None:
    before = snapshot(copy)
    assert "tuning.settings: 2 → 3" in here(copy, "run", "--third", "true").err
    (copy / "runs" / "tuned" / "study.json").unlink()
    for arm in ("none", "l2"):
        shutil.rmtree(copy / "runs" / "tuned" / arm)
    more = here(copy, "run", "--third", "true")
    assert more.code == 2
    assert "arm none: settings: lr=1e-4, lr=1e-2 → lr=1e-4, lr=1e-2, lr=1" in more.err
    other = here(copy, "run", "--rate", "0.02")
    assert other.code == 2
    assert "arm none@lr=1e-2: optimizer.lr: 0.01 → 0.02" in other.err
    after = snapshot(copy)
    assert {path: after[path] for path in after} == {path: before[path] for path in after}


def test_an_arm_whose_every_setting_diverged(copy: Path, here: Here) -> None:
    folder = copy / "runs" / "tuned"
    for seed in SEEDS:
        run = folder / "tuning" / "l2@lr=1e-2" / f"seed-{seed}"
        (run / "result.json").unlink()
        write_json(run / "failure.json", {"error": "NonFiniteLossError: the training loss is NaN"})
    said = here(copy, "run", "--wandb", "disabled")
    assert said.code == 1
    assert "arm l2 has no setting, as all 2 have diverged" in said.out
    assert "runs/tuned: 1 run, 1 done, 0 to do" in said.out
    assert load(folder / "tuning" / "choice.json")["arms"]["l2"]["setting"] is None


def test_reading_both_folders(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = finished / "runs" / "tuned"
    assert cli.read(["status", str(finished / "runs")]) == 0
    out = "".join(capsys.readouterr().out.split())
    assert out.index("tuned/tuning:6of8runsdone") < out.index("tuned:2of2runsdone")
    assert cli.read(["compare", str(folder / "tuning")]) == 0
    assert "tuned-tuning: val mIoU against none@lr=1e-4" in capsys.readouterr().out
    (folder / "tuning" / "report.html").unlink()
