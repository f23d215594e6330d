"""`run`, `status` and `compare`, end to end."""

import csv
import json
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from seglab import SegmentationDataModule, Shapes, load
from seglab.compare import Criteria, Metric, compare
from seglab.metrics import confusion_matrices
from seglab.records import IMAGE_SCORES, read_record, read_result, read_results
from tests.study.scripts import Command, seglab, start
from tests.study.tiny_experiment import Small

NUMBERS = ("val", "test", "per_class")


def numbers(path: Path) -> object:
    """Return the part of a result that does not depend on the clock."""
    raw = json.loads(path.read_text())
    return {name: raw[name] for name in NUMBERS} | {"zeros": raw["cost"]["exact_zeros"]}


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


def test_run_and_status_say_what_is_not_uploaded(finished: Path) -> None:
    lines = (finished.parents[1] / "printed.txt").read_text().splitlines()
    assert "W&B: offline; seglab sync runs/tiny uploads the runs later" in lines
    assert lines[-1] == "W&B: 6 runs not uploaded; seglab sync runs/tiny does it"
    code, out = seglab("status", "runs/tiny", cwd=finished.parents[1])
    assert (code, out.splitlines()[-1]) == (0, lines[-1])


def test_a_run_leaves_everything_behind(finished: Path) -> None:
    run = finished / "l1" / "seed-1"
    for name in (
        "settings.yaml",
        "metrics.csv",
        "checkpoints/last.ckpt",
        "result.json",
        "confusion.npz",
        "environment.json",
        "log.txt",
        "predictions.png",
        "lease.0",
    ):
        assert (run / name).stat().st_size > 0, name
    assert list(run.glob("wandb/offline-run-*/run-*.wandb")), "no W&B log"
    assert not list(finished.rglob("*.part*")), "a half-written file"
    printed = (finished.parents[1] / "printed.txt").read_text()
    assert "images of 32×32 are trained at their own size; --data.size sets another size\n" in printed
    configuration = yaml.safe_load((run / "settings.yaml").read_text())
    assert configuration["arm"]["regularizer"]["inner"]["strength"] == 1e-3
    assert configuration["shared"]["epochs"] == 2
    assert configuration["command"][-4:] == ["--arm", "l1", "--seed", "1"]


def test_the_network_of_a_run_is_loaded(finished: Path) -> None:
    """Predict what the run's own evaluation has counted, pixel by pixel."""
    data = SegmentationDataModule(Shapes(num_train=16, num_val=4, num_test=6, image_size=32, num_shapes=3), batch_size=4, num_workers=0)
    loaded = load(finished / "l2" / "seed-1", Small(data.num_classes, 0.1))
    assert loaded.class_names == data.class_names
    with torch.inference_mode():
        found = [confusion_matrices(loaded(batch.image).argmax(1), batch.mask, data.num_classes) for batch in data.test_dataloader()]
    counted = np.load(finished / "l2" / "seed-1" / "confusion.npz")
    assert torch.cat(found).tolist() == counted["test"].tolist()


def test_metrics_are_logged_under_their_names(finished: Path) -> None:
    with (finished / "l2" / "seed-0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    logged = {name: [row[name] for row in rows if row[name]] for name in rows[0]}
    for name in (
        "train/loss",
        "train/penalty",
        "val/miou",
        "val/dice",
        "val/loss",
        "val/iou/background",
        "test/miou",
        "stage/network/lr",
        "perf/images_per_s",
        "perf/data_wait",
    ):
        assert logged.get(name), name
    assert float(logged["train/penalty"][0]) > 0
    assert len(logged["val/miou"]) == 2  # once an epoch


def test_the_trained_network_is_scored_on_its_own_images_too(finished: Path) -> None:
    result = read_result(finished / "l2" / "seed-1" / "result.json")
    assert set(result.train) == set(result.val) == set(result.gap)
    assert 0 < result.train["miou"] < 1
    assert result.gap["miou"] == result.train["miou"] - result.val["miou"]
    with (finished / "l2" / "seed-1" / "metrics.csv").open() as file:
        logged = [row["train/miou"] for row in csv.DictReader(file) if row["train/miou"]]
    assert [float(value) for value in logged] == [pytest.approx(result.train["miou"], abs=1e-6)]


def test_weights_and_biases_has_the_run(finished: Path) -> None:
    """Read back from the offline log by W&B's own reader."""
    (log,) = (finished / "l2" / "seed-1").glob("wandb/offline-run-*/run-*.wandb")
    reader = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json"]
    read = subprocess.run([*reader, str(log)], capture_output=True, text=True, check=True, timeout=60).stdout
    run = next(record["run"] for record in map(json.loads, read.splitlines()) if record["type"] == "run")
    assert (run["display_name"], run["run_group"], run["job_type"], run["project"]) == ("tiny/l2/s1", "tiny/l2", "train", "seglab")
    assert run["run_id"] == f"tiny-l2-s1-{read_result(finished / 'l2' / 'seed-1' / 'result.json').identity[:8]}"
    summary = json.loads(subprocess.run([*reader, "--summary", str(log)], capture_output=True, text=True, check=True, timeout=60).stdout)
    assert (summary["config"]["penalty"], summary["config"]["strength"]) == ("l2", 1e-3)
    assert summary["config"]["settings"]["arm"]["regularizer"]["strength"] == 1e-3
    assert {
        "val/miou",
        "val/dice",
        "test/miou",
        "test/dice",
        "val/iou/background",
        "train/loss",
        "train/penalty",
        "test/images",
    } <= set(summary["summary"])
    assert summary["summary"]["test/miou"] == pytest.approx(read_result(finished / "l2" / "seed-1" / "result.json").test["miou"])


def test_scores_follow_from_the_saved_matrices(finished: Path) -> None:
    """IoU from the per-image matrices in plain numpy: the definition, apart from the metric's code."""
    run = finished / "none" / "seed-0"
    saved, result = np.load(run / "confusion.npz"), read_result(run / "result.json")
    assert len(saved["test_names"]) == 6
    assert len(set(saved["test_names"])) == 6
    for split, scores in (("val", result.val), ("test", result.test)):
        total = saved[split].sum(0).astype(float)
        assert total.sum() == saved[split].shape[0] * 32 * 32
        union = total.sum(0) + total.sum(1) - total.diagonal()
        iou = np.where(union > 0, total.diagonal() / np.maximum(union, 1), np.nan)
        assert scores["miou"] == pytest.approx(np.nanmean(iou))
        np.testing.assert_allclose(result.per_class[split]["iou"], iou)
        assert_image_scores(scores, saved[split])
    assert "test_groups" not in saved


def assert_image_scores(scores: Mapping[str, float], matrices: NDArray[np.uint32]) -> None:
    """Check the means over images in a result against the matrices of its images."""
    hit, truth, predicted = (part.astype(float) for part in (matrices.diagonal(axis1=1, axis2=2), matrices.sum(2), matrices.sum(1)))
    present = truth + predicted > 0
    iou, dice = (
        np.where(present, over / np.maximum(under, 1), np.nan)
        for over, under in ((hit, truth + predicted - hit), (2 * hit, truth + predicted))
    )
    mious = np.sort(np.nanmean(iou, axis=1))
    expected = (mious.mean(), np.nanmean(dice, axis=1).mean(), mious[: max(1, len(mious) // 10)].mean())
    assert tuple(scores[name] for name in IMAGE_SCORES) == pytest.approx(expected, abs=1e-12)


def test_it_ends_with_the_comparison(finished: Path) -> None:
    printed = (finished.parents[1] / "printed.txt").read_text()
    assert "6 runs, 0 done, 6 to do" in printed
    assert "no verdict" in printed
    assert "no verdict: 2 of the 6 pairs needed" in printed
    assert "report: runs/tiny/report.html" in printed
    report = (finished / "report.html").read_text()
    assert "smallest two-sided exact p" in report
    assert report.count("<img ") == 4 * (2 + 2 * 3) + 1  # four images: image and truth, prediction and errors of each arm; and the legend


@pytest.mark.slow
def test_the_second_time_does_nothing(finished: Path, experiment: Command) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file() and path.name != "report.html"}
    again = experiment("run", cwd=finished.parents[1])
    assert again.returncode == 0, again.stderr
    assert "6 done, 0 to do" in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file() and path.name != "report.html"}


@pytest.mark.slow
def test_status_counts(finished: Path, experiment: Command) -> None:
    status = experiment("status", cwd=finished.parents[1])
    assert status.returncode == 0
    assert "6 of 6 runs done" in status.stdout


@pytest.mark.slow
def test_the_recorded_command_reproduces_the_run_bit_for_bit(finished: Path, experiment: Command, tmp_path: Path) -> None:
    command = yaml.safe_load((finished / "l1" / "seed-1" / "settings.yaml").read_text())["command"]
    words = command[2:]
    words[words.index("--root") + 1] = "elsewhere"
    repeated = experiment(*words)
    assert repeated.returncode == 0, repeated.stdout + repeated.stderr
    first = finished / "l1" / "seed-1"
    second = tmp_path / "elsewhere" / "tiny" / "l1" / "seed-1"
    assert numbers(first / "result.json") == numbers(second / "result.json")
    ours, theirs = weights(first), weights(second)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_other_settings_are_refused_with_the_difference(finished: Path, experiment: Command) -> None:
    record = (finished / "study.json").read_text()
    refused = experiment("run", "--epochs", 3, "--strength", "0.01", cwd=finished.parents[1])
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "epochs: 2 → 3" in refused.stderr
    assert "arm l1: regularizer.inner.strength: 0.001 → 0.01" in refused.stderr
    assert "--name" in refused.stderr
    assert (finished / "study.json").read_text() == record


@pytest.mark.weekly
def test_more_seeds_are_the_same_study_and_an_amendment(finished: Path, experiment: Command, tmp_path: Path) -> None:
    shutil.copytree(finished.parents[1], tmp_path / "copy")
    refused = experiment("run", "--seeds", 3, "--arm", "none", cwd=tmp_path / "copy")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "seeds: 0, 1 → also 2 (declared → requested)" in refused.stderr
    more = experiment("run", "--seeds", 3, "--arm", "none", "--amend", "two were too few", cwd=tmp_path / "copy")
    assert more.returncode == 0, more.stderr
    assert "3 runs, 2 done, 1 to do" in more.stdout
    assert "amended, as every comparison will say: exploratory seeds: none → 2" in more.stdout
    compared = experiment("compare", cwd=tmp_path / "copy")
    assert "Reason: two were too few" in " ".join(compared.stdout.split())
    again = experiment("run", "--seeds", 1, cwd=tmp_path / "copy")
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_a_dry_run_lists_commands_and_writes_nothing(experiment: Command, tmp_path: Path) -> None:
    listed = experiment("run", "--dry_run", "--full", "--seeds", 2)
    assert listed.returncode == 0, listed.stderr
    commands = [line for line in listed.stdout.splitlines() if line.startswith("python ")]
    assert len(commands) == 6
    assert all("--data.source.num_train 16" in command and "--arm" in command for command in commands)
    assert not (tmp_path / "runs").exists()


@pytest.mark.weekly
def test_a_nan_fails_its_run_and_the_others_go_on(experiment: Command, tmp_path: Path) -> None:
    broken = experiment("run", "--broken", "true", "--seeds", 1, "--epochs", 1)
    assert broken.returncode == 1
    assert "failed: tiny/broken/s0: NonFiniteLossError" in broken.stdout
    folder = tmp_path / "runs" / "tiny"
    assert "NaN" in json.loads((folder / "broken" / "seed-0" / "failure.json").read_text())["error"]
    assert not (folder / "broken" / "seed-0" / "result.json").exists()
    results, problems = read_results(folder)
    assert {result.run.arm for result in results} == {"none", "l1", "l2"}
    assert problems == []


@pytest.mark.slow
def test_ctrl_c_and_the_same_command_go_on_to_the_same_numbers(finished: Path, experiment: Command, tmp_path: Path) -> None:
    process = start("run", cwd=tmp_path)
    folder = tmp_path / "runs" / "tiny"
    deadline = time.monotonic() + 120
    while not list(folder.glob("*/seed-*/progress.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 75, errors
    assert errors.strip() == "interrupted; the same command again goes on"
    assert len(read_results(folder)[0]) < 6
    again = experiment("run")
    assert again.returncode == 0, again.stdout + again.stderr
    for path in finished.glob("*/seed-*/result.json"):
        assert numbers(path) == numbers(folder / path.relative_to(finished))


@pytest.mark.slow
def test_a_damaged_result_is_reported_and_left_out(finished: Path, experiment: Command, tmp_path: Path) -> None:
    shutil.copytree(finished.parents[1], tmp_path / "copy")
    damaged = tmp_path / "copy" / "runs" / "tiny" / "l2" / "seed-0" / "result.json"
    damaged.write_text(damaged.read_text()[:200])
    compared = experiment("compare", cwd=tmp_path / "copy")
    assert compared.returncode == 0, compared.stderr
    flat = " ".join(compared.stdout.split())
    assert "l2/seed-0/result.json: damaged" in flat.replace(" ", "") or "l2/seed-0/result.json: damaged" in flat
    results, problems = read_results(damaged.parents[2])
    assert len(results) == 5
    assert len(problems) == 1


def test_two_arms_of_a_seed_are_a_pair(finished: Path) -> None:
    """Check that `compare` pairs what the folder says."""
    results, _ = read_results(finished)
    record = read_record(finished)
    assert record is not None
    comparison = compare(results, Criteria(Metric.parse(record.metric), record.baseline))
    assert {contrast.seeds for contrast in comparison.contrasts} == {(0, 1)}
    assert all(contrast.verdict == "no verdict" for contrast in comparison.contrasts)
    assert all(not math.isnan(contrast.difference) for contrast in comparison.contrasts)


@pytest.mark.slow
def test_the_number_of_devices_changes_nothing(experiment: Command, tmp_path: Path) -> None:
    """One process and two gloo processes, of one study: batch norm and loss are those of the whole batch.

    Only dropout, drawn on each, differs.

    Of 5 test images a padding sampler would make 6.
    """
    one_run = ("run", "--arm", "l1", "--seed", 0, "--dropout", 0, "--epochs", 4, "--accelerator", "cpu", "--data.source.num_test", 5)
    run, alone = tmp_path / "runs" / "tiny" / "l1" / "seed-0", tmp_path / "alone"
    done = experiment(*one_run)
    assert done.returncode == 0, done.stdout + done.stderr
    run.rename(alone)
    refused = experiment(*one_run, "--devices", 2, "--sync_batchnorm", "false")
    assert refused.returncode == 2
    assert "batch_norm_parts: 1 → 2" in refused.stderr
    done = experiment(*one_run, "--devices", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    mine, theirs = weights(run), weights(alone)
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=1e-5, atol=1e-6, msg=f"{name}: {{}}".format)
    result = read_result(run / "result.json")
    assert result.identity == read_result(alone / "result.json").identity
    counted = np.load(run / "confusion.npz")
    assert len(set(counted["test_names"])) == len(counted["test_names"]) == len(counted["test"]) == 5
    total = counted["test"].sum(0).astype(float)
    assert total.sum() == 5 * 32 * 32
    assert result.test["pixel_accuracy"] == pytest.approx(total.trace() / total.sum())
    assert_image_scores(result.test, counted["test"])


def columns(text: str, name: str) -> list[str]:
    """The cells of a row of the table."""
    (row,) = [line for line in text.splitlines() if f" {name} " in line]
    return row.replace("│", " ").split()[1:]


@pytest.mark.parametrize(("verb", "split"), [("test", "test"), pytest.param("validate", "val", marks=pytest.mark.slow)])
def test_a_finished_run_scores_as_its_result_says(finished: Path, verb: str, split: str) -> None:
    run = finished / "l1" / "seed-1"
    code, text = seglab(verb, run.relative_to(finished.parents[1]), cwd=finished.parents[1])
    assert code == 0, text
    recorded = json.loads((run / "result.json").read_text())[split]
    for name, value in recorded.items():
        assert columns(text, name) == [f"{value:.6f}"] * 2
