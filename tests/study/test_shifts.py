"""Studies with shifted test sets: what is scored, what stays, and how a shift joins a finished study."""

import dataclasses
import functools
import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from seglab import (
    CrossEntropy,
    GaussianNoise,
    OtherDomain,
    SegmentationDataModule,
    SegmentationModule,
    Shapes,
    Shift,
    Study,
    Tuned,
    corruptions,
    load,
)
from seglab.data.arrays import Array
from seglab.exit_codes import FAILED
from seglab.interruption import Interrupted, Interruption
from seglab.metrics import confusion_matrices, scores
from seglab.records import Result, identity, read_record, read_result, write_result
from seglab.running.execute import execute
from seglab.running.job import Job
from seglab.running.local import Local
from seglab.running.plan import Plan, Script, agreed_record, check_split, save_record
from seglab.running.resources import Resources
from seglab.script.command_line import parse
from seglab.script.dry_run import dry_run_table
from seglab.script.parser import changed_flags_of, flags_of, parser_of, study_parameters
from seglab.script.preflight import check_request, check_training
from seglab.script.supervise import supervise
from seglab.script.tuning import tuning_plan
from tests.compare.drawn import result as drawn_result
from tests.nets import Small

DATA = SegmentationDataModule(Shapes(num_train=8, num_val=3, num_test=5, image_size=32, num_shapes=3), batch_size=4, num_workers=0)
NIGHT = OtherDomain(Shapes(num_train=2, num_val=2, num_test=3, image_size=32, num_shapes=3, noise=0.3))
SHIFTS: dict[str, Shift] = {**corruptions(["noise-3", "jpeg-5"]), "night": NIGHT}


def arm() -> SegmentationModule:
    return SegmentationModule(Small(), CrossEntropy(), num_classes=4, calibration_error=True)


def study(shifts: Mapping[str, Shift] = SHIFTS, **settings: Any) -> Study:
    fixed: dict[str, Any] = {"data": DATA, "epochs": 2, "seeds": [0], "baseline": "none", "arms": {"none": arm}}
    return Study("shifted", shifts=shifts, **(fixed | settings))


def plan(root: Path, shifts: Mapping[str, Shift] = SHIFTS, **settings: Any) -> Plan:
    resources = Resources(accelerator="cpu", wandb="disabled", diagnostics=0)
    return Plan(study(shifts, **settings), root, Script(("script.py",)), resources)


def started(root: Path, shifts: Mapping[str, Shift] = SHIFTS, **settings: Any) -> Job:
    wanted = plan(root, shifts, **settings)
    save_record(wanted, agreed_record(wanted))
    (job,) = wanted.jobs()
    return job


def done(root: Path, shifts: Mapping[str, Shift] = SHIFTS, **settings: Any) -> tuple[Job, Result]:
    job = started(root, shifts, **settings)
    execute(job, Interruption())
    return job, read_result(job.directory / "result.json")


def trained(job: Job) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(job.checkpoints / "last.ckpt", weights_only=True)["state_dict"]
    return state


@pytest.fixture(scope="module")
def with_shifts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Result]:
    """A run that was scored under all shifts from the start."""
    return done(tmp_path_factory.mktemp("with"))


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Result]:
    """The same run without shifts."""
    return done(tmp_path_factory.mktemp("without"), {})


@pytest.mark.slow
def test_the_scores_are_those_of_the_weights_on_the_shifted_images(with_shifts: tuple[Job, Result]) -> None:
    job, result = with_shifts
    network = load(job.directory, Small())
    for name, shift in SHIFTS.items():
        with torch.inference_mode():
            counts = [confusion_matrices(network(batch.image).argmax(1), batch.mask, 4) for batch in DATA.shift_dataloader(shift)]
        expected = scores(torch.cat(counts).sum(0))
        found = {score: value for score, value in result.shift[name].items() if score in expected.mean}  # without those of single images
        assert found == pytest.approx({score: float(value) for score, value in expected.mean.items()}, abs=1e-12, nan_ok=True)
        assert result.per_class[f"shift/{name}"]["iou"] == pytest.approx(expected.per_class["iou"].tolist(), abs=1e-12, nan_ok=True)
        assert 0 < result.shift[name]["calibration_error"] < 1
    assert list(result.shift) == [*SHIFTS, "mean"]
    assert result.shift["mean"]["miou"] == pytest.approx((result.shift["noise-3"]["miou"] + result.shift["jpeg-5"]["miou"]) / 2)


@pytest.mark.slow
def test_shifts_change_nothing_else(with_shifts: tuple[Job, Result], without: tuple[Job, Result]) -> None:
    (job, result), (other, plain) = with_shifts, without
    assert {name: value.tolist() for name, value in trained(job).items()} == {
        name: value.tolist() for name, value in trained(other).items()
    }
    assert (result.identity, result.val, result.test, result.train) == (plain.identity, plain.val, plain.test, plain.train)
    assert plain.shift == {}
    assert {split: result.per_class[split] for split in plain.per_class} == plain.per_class
    for name in ("metrics.csv", "confusion.npz"):
        assert (job.directory / name).stat().st_size > 0
    columns = [(run.directory / "metrics.csv").read_text().splitlines()[0] for run in (job, other)]
    assert columns[0] == columns[1]
    counted = [np.load(run.directory / "confusion.npz") for run in (job, other)]
    assert all(np.array_equal(counted[0][name], counted[1][name]) for name in counted[1].files)


@pytest.mark.slow
def test_a_shift_joins_a_finished_study_without_a_training(
    tmp_path: Path, with_shifts: tuple[Job, Result], without: tuple[Job, Result]
) -> None:
    first, plain = done(tmp_path, corruptions(["noise-3"]))
    before = trained(first)
    stamp = (first.checkpoints / "last.ckpt").stat().st_mtime_ns
    more = plan(tmp_path)
    assert [more.settled(run) for run in more.runs] == [False]
    assert more.untested == more.unsettled == more.runs
    assert dry_run_table(more, more.runs).splitlines()[2].split() == ["none", "0", "to", "test"]
    job, result = done(tmp_path)
    assert result.shift == with_shifts[1].shift
    assert result.per_class == with_shifts[1].per_class
    assert dataclasses.replace(result, shift=plain.shift, per_class=plain.per_class) == plain, "its costs too"
    assert (first.checkpoints / "last.ckpt").stat().st_mtime_ns == stamp
    assert all(torch.equal(value, before[name]) for name, value in trained(job).items())
    assert more.unsettled == []
    record = read_record(job.folder)
    assert record is not None
    assert list(record.shifts) == ["noise-3", "jpeg-5", "night"]
    fewer = plan(tmp_path, {})
    save_record(fewer, agreed_record(fewer))
    assert read_record(job.folder) == record, "a request without shifts takes none away"


@pytest.mark.slow
def test_a_shift_that_joins_is_evaluated_by_the_same_windows(tmp_path: Path) -> None:
    source = Shapes(num_train=4, num_val=1, num_test=2, image_size=32, num_shapes=3)
    data = SegmentationDataModule(source, batch_size=4, num_workers=0, window=(16, 16))
    noise = corruptions(["noise-3"])
    done(tmp_path / "later", {}, data=data, epochs=1)
    later, start = (done(tmp_path / name, noise, data=data, epochs=1)[1] for name in ("later", "start"))
    assert later.shift == start.shift
    whole = SegmentationDataModule(source, batch_size=4, num_workers=0)
    assert done(tmp_path / "whole", noise, data=whole, epochs=1)[1].shift != start.shift


@pytest.mark.slow
def test_a_shift_keeps_its_meaning(with_shifts: tuple[Job, Result]) -> None:
    folder = with_shifts[0].folder.parent
    other = OtherDomain(dataclasses.replace(NIGHT.source, noise=0.2))  # type: ignore[type-var]
    for shifts, said in (
        ({"noise-3": GaussianNoise(4)}, "shift noise-3: shift.severity: 3 → 4"),
        ({"night": other}, "shift night: shift.source.noise: 0.3 → 0.2"),
    ):
        with pytest.raises(ValueError, match=f"{said}.*or give a changed shift another name"):
            agreed_record(plan(folder, shifts))
    assert list(agreed_record(plan(folder, {"noise-4": GaussianNoise(4)})).shifts) == [*SHIFTS, "noise-4"]


STOPS = [2]
"""Number of images after which `Stops` stops this process; empty when it has."""


@dataclass(frozen=True)
class Stops(Shift):
    """Stops the process once, as a signal does, while a shifted test set is evaluated."""

    def apply(self, image: Array, rng: np.random.Generator) -> Array:
        if STOPS:
            STOPS[0] -= 1
            if STOPS[0] < 0:
                STOPS.clear()
                raise Interrupted
        return np.asarray(255 - image)


@pytest.mark.slow
@pytest.mark.parametrize("finished", [False, True])
def test_an_interrupted_evaluation_is_done_again(tmp_path: Path, finished: bool) -> None:
    STOPS[:] = [2]
    shifts = {"noise-3": GaussianNoise(3), "stops": Stops()}
    if finished:
        done(tmp_path, {})
    job = started(tmp_path, shifts)
    with pytest.raises(Interrupted):
        execute(job, Interruption())
    assert (job.directory / "result.json").exists() == finished
    assert not job.is_settled
    execute(job, Interruption())
    STOPS.clear()
    expected = done(tmp_path / "undisturbed", shifts)[1]
    result = read_result(job.directory / "result.json")
    assert (result.shift, result.per_class, result.test) == (expected.shift, expected.per_class, expected.test)
    assert job.is_settled


def written(root: Path, seeds: int, **settings: Any) -> Plan:
    """Write a finished study without shifts, by results of hand, and return its plan."""
    wanted = plan(root, {}, seeds=range(seeds), **settings)
    agreed = agreed_record(wanted)
    save_record(wanted, agreed)
    for run in wanted.runs:
        run.directory(wanted.folder).mkdir(parents=True)
        found = dataclasses.replace(drawn_result("none", run.seed, 0.5), run=run, identity=identity(agreed, run))
        write_result(run.directory(wanted.folder) / "result.json", found)
    return wanted


def test_finished_runs_that_lack_a_shift_are_done_and_to_test(tmp_path: Path) -> None:
    written(tmp_path, 3)
    (tmp_path / "shifted" / "none" / "seed-2" / "result.json").unlink()
    console = Console(file=io.StringIO(), width=200)
    check_request(plan(tmp_path, seeds=range(3)), console)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        f"{tmp_path / 'shifted'}: 3 runs, 2 done, 1 to do",
        "2 done runs to test under more shifts, without training",
    ]


@pytest.mark.parametrize("shifts", [{}, SHIFTS])
def test_a_damaged_result_is_a_failure(tmp_path: Path, shifts: Mapping[str, Shift]) -> None:
    path = written(tmp_path, 1).folder / "none" / "seed-0" / "result.json"
    path.write_text('{"run": ')
    console = Console(file=io.StringIO(), width=200)
    assert supervise(plan(tmp_path, shifts), Local(), 1, console) == FAILED
    assert f"{path}: damaged (not JSON" in console.file.getvalue()  # type: ignore[attr-defined]
    assert "Delete the file and `run` again" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_study_checks_its_shifts() -> None:
    for settings, said in (
        ({"shifts": {"mean": GaussianNoise(1)}}, "shift 'mean': is the name of the mean"),
        ({"shifts": {"a/b": GaussianNoise(1)}}, "shift 'a/b': a name starts with"),
        ({"shifts": {"a": "noise"}}, r"shift 'a': is a str; expected a Shift that is a dataclass, such as GaussianNoise\(3\)"),
        ({"metric": "shift/noise-2/miou"}, r"the study has no shift 'noise-2' \(did you mean noise-3\?\); it has noise-3, jpeg-5, night"),
        ({"metric": "shift/noise-2/miou", "shifts": {}}, "no shift 'noise-2'; it has none"),
        ({"metric": "shift/mean/iou/car"}, "the mean over the corruptions has no scores of classes; give shift/mean/miou"),
        ({"metric": "shift/mean/miou", "shifts": {"night": NIGHT}}, "is the mean over the corruptions, and the study has none"),
    ):
        with pytest.raises(ValueError, match=said):
            study(**settings)
    assert study(metric="shift/noise-3/iou/car").metric == "shift/noise-3/iou/car"


def test_tuning_runs_see_no_shift() -> None:
    tuned = Study("t", DATA, 1, [0], "none", {"none": Tuned({"a": arm})}, metric="shift/night/miou", shifts=SHIFTS)
    assert tuned.tuning().shifts == {}


@dataclass(frozen=True)
class Cuts(Shift):
    """A wrong shift, which returns a part of the image."""

    def apply(self, image: Array, rng: np.random.Generator) -> Array:
        return image[:1]


def test_shifts_are_checked_before_a_tuning(tmp_path: Path) -> None:
    """Otherwise a bad shift would be found when all tuning runs have ended."""
    tuning = tuning_plan(plan(tmp_path, {"cut": Cuts()}, arms={"none": Tuned({"a": arm, "b": arm})}))
    with pytest.raises(ValueError, match=r"shift cut: Cuts\.apply returned"):
        check_training(tuning, agreed_record(tuning), Console(quiet=True))


def test_each_process_needs_an_image_of_each_domain() -> None:
    few = OtherDomain(dataclasses.replace(NIGHT.source, num_test=1))  # type: ignore[type-var]
    wanted = dataclasses.replace(plan(Path("x"), {"few": few}), resources=Resources(devices=2, accelerator="cpu"))
    with pytest.raises(ValueError, match="the shift few has 1 images, and a run 2 processes"):
        check_split(wanted)


def function(
    data: SegmentationDataModule = DATA, seeds: int = 1, names: Sequence[str] = (), shifts: Mapping[str, Shift] | None = None
) -> Study:
    return study({} if shifts is None else shifts)


@functools.cache
def parser() -> ArgumentParser:
    return parser_of(function)


def parsed(*words: str) -> tuple[Namespace, Mapping[str, Shift] | None]:
    given = parse(parser(), ["run", *words])
    return given.run, parser().instantiate(given).run.shifts


DOMAIN = ("--shifts.at-night", "OtherDomain", "--shifts.at-night.source", "Shapes", "--shifts.at-night.source.num-test", "3")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), None),
        (("--shifts", "noise-3,jpeg"), corruptions(["noise-3", "jpeg"])),
        (("--shifts.dark-5", "Brightness", "--shifts.dark-5.severity", "5"), {"dark-5": corruptions(["brightness-5"])["brightness-5"]}),
        (("--shifts", "noise-3", *DOMAIN), {"noise-3": GaussianNoise(3), "at-night": OtherDomain(Shapes(num_test=3))}),
    ],
)
def test_shifts_are_flags_and_flags_reproduce_them(words: Sequence[str], expected: Mapping[str, Shift] | None) -> None:
    given, shifts = parsed(*words)
    assert shifts == expected
    for again in (flags_of, changed_flags_of):
        assert parsed(*again(function, study_parameters(function, given)))[1] == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--shifts", "noisy"), r"--shifts: there is no corruption 'noisy' \(did you mean noise\?\); expected noise, blur"),
        (("--shifts.x", "Nope"), "--shifts.x: there is no class 'Nope'"),
        (
            ("--shifts.x", "CrossEntropy"),
            r"--shifts.x: CrossEntropy .*no.* seglab.Shift|--shifts.x: CrossEntropy does not extend seglab.Shift",
        ),
        (("--shifts.x", "OtherDomain"), "--shifts.x: OtherDomain needs source; add --shifts.x.source CLASS"),
        (("--shifts.x", "JPEG", "--shifts.x.quality", "3"), "--shifts.x.quality: JPEG has no argument 'quality'"),
    ],
)
def test_a_wrong_flag_is_named(words: Sequence[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parsed(*words)


@pytest.mark.weekly
def test_two_processes_give_the_scores_of_one(tmp_path: Path) -> None:
    """To float32 accuracy, with test sets whose images do not divide evenly."""
    script = Path(__file__).parents[2] / "experiments" / "regularization.py"
    small = "--data.source.num_train 8 --data.source.num_val 3 --data.source.num_test 5 --data.source.image_size 32 --data.batch_size 4"
    words = f"--encoder tu-test_resnet --epochs 1 --seeds 1 --settings 1 --strength 1e-4 --penalties l2 --arm none {small} --shifts noise-2"
    found = []
    for devices in ("1", "2"):
        domain = "--shifts.night OtherDomain --shifts.night.source Shapes --shifts.night.source.num_test 3"
        code, text = run(script, *words.split(), *domain.split(), "--devices", devices, "--name", f"d{devices}", cwd=tmp_path)
        assert code == 0, text
        found.append(json.loads((tmp_path / "runs" / f"d{devices}" / "none" / "seed-0" / "result.json").read_text())["shift"])
    assert found[0].keys() == found[1].keys() == {"noise-2", "night", "mean"}
    for name, means in found[0].items():
        assert found[1][name] == pytest.approx(means, abs=0.01)


def run(script: Path, *words: object, cwd: Path) -> tuple[int, str]:
    command = [sys.executable, str(script), "run", "--accelerator", "cpu", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout + done.stderr
