"""Notes on the health of a study: each fault is found, healthy studies have no note, and no number changes."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from seglab import cli
from seglab.compare import Criteria, Metric, analyse, compare, health, read_folder, to_markdown
from seglab.compare.environments import cpu_threads
from seglab.compare.logs.log import RunLog
from seglab.compare.numbers import health as numbers
from seglab.records import Result, Run, StudyRecord
from seglab.running.environment import environment
from tests.compare.drawn import result, study, write_study

CRITERIA = Criteria(Metric("test", "miou"), "none")
CLASSES = ("road", "car", "pole")
SHARES = (0.7, 0.2, 0.1)


def run(arm: str, seed: int, iou: Sequence[float], frequency: Sequence[float] = SHARES, train: float | None = None) -> Result:
    """A run with the IoU and the share of each class, whose mIoU on training images is `train`."""
    miou = float(np.nanmean(iou))
    drawn = result(arm, seed, miou, classes=CLASSES)
    return dataclasses.replace(
        drawn,
        test={"miou": miou},
        train={"miou": miou if train is None else train},
        per_class={"test": {"iou": tuple(iou), "frequency": tuple(frequency)}},
    )


def normal_study(arms: int, seeds: int, generator: np.random.Generator, spread: float = 0.01) -> list[Result]:
    """Arms whose runs are drawn from one normal distribution, around 60 %."""
    names = ["none", *(f"arm-{number}" for number in range(1, arms))]
    iou = generator.normal((0.9, 0.6, 0.3), spread, size=(arms, seeds, 3)) + generator.normal(0, spread, size=(seeds, 1))
    iou = iou.clip(0, 1)
    return [run(arm, seed, iou[place, seed].tolist()) for place, arm in enumerate(names) for seed in range(seeds)]


def log(run: Run, losses: Sequence[float], every: int = 10) -> RunLog:
    return RunLog(run, {"train/loss": {every * place + every - 1: loss for place, loss in enumerate(losses)}})


def healthy_losses(generator: np.random.Generator, length: int = 20) -> list[float]:
    found: list[float] = (0.3 + 0.7 * np.exp(-np.arange(length) / 4) + generator.normal(0, 0.03, length)).tolist()
    return found


def noted(results: Sequence[Result], logs: Sequence[RunLog] = (), criteria: Criteria = CRITERIA) -> tuple[str, ...]:
    return health.notes(health.Evidence(results, compare(results, criteria), logs))


def healthy(arms: int = 2, seeds: int = 7) -> list[Result]:
    return normal_study(arms, seeds, np.random.default_rng(1))


def with_scores(*values: float) -> list[Result]:
    """The baseline near 0.6, and an arm with these values, one for each seed."""
    base = [0.60, 0.61, 0.59, 0.605, 0.595, 0.602, 0.598][: len(values)]
    return study({"none": base, "l2": values})


def without_scores(results: list[Result]) -> list[Result]:
    """The same results, of which the arm `arm-1` has no finite score."""
    nothing = {"miou": math.nan, "dice": math.nan}
    return [
        one if one.run.arm != "arm-1" else dataclasses.replace(one, val=nothing, test=nothing, train={}, per_class={}) for one in results
    ]


def changed(results: list[Result], **values: object) -> list[Result]:
    """The same results with other values in the last of them."""
    return [*results[:-1], dataclasses.replace(results[-1], **values)]  # type: ignore[arg-type]


GENERATOR = np.random.default_rng(2)
STEEP = np.linspace(1.0, 0.4, 20) + GENERATOR.normal(0, 0.02, 20)
FAULTS: dict[str, tuple[list[Result], list[RunLog], str]] = {
    "all networks predict one class": (
        [run(arm, seed, (0.7, 0.0, 0.0)) for arm in ("none", "l2") for seed in range(3)],
        [],
        "all 6 runs: at most one class has a test IoU of 1 % or more",
    ),
    "one network predicts the rarest class": (
        [*healthy()[:-1], run("arm-1", 6, (0.0, 0.0, 0.002))],
        [],
        "arm-1 (seed 6): at most one class has a test IoU of 1 % or more",
    ),
    "a seed far from the others": (
        with_scores(0.38, 0.385, 0.381, 0.12, 0.377, 0.383, 0.379),
        [],
        "l2: test mIoU 12.00 (seed 3) is far from the other seeds, whose median is 38.05",
    ),
    "two seeds that would hide each other from a mean": (
        with_scores(0.38, 0.385, 0.381, 0.12, 0.377, 0.11, 0.379),
        [],
        "l2: test mIoU 12.00 (seed 3), 11.00 (seed 5) are far from the other seeds, whose median is 38.00",
    ),
    "arms that train the same network": (
        [run(arm, seed, (0.9, 0.6, 0.3 + seed / 100)) for arm in ("none", "l1", "l2") for seed in range(3)],
        [],
        "all arms: exactly equal scores under every seed",
    ),
    "arms that train the same network, beside one that collapsed": (
        [
            *(run(arm, seed, (0.9, 0.6, 0.3 + seed / 100)) for arm in ("none", "l1") for seed in range(3)),
            *(run("l2", seed, (0.7, 0.0, 0.0)) for seed in range(3)),
        ],
        [],
        "none and l1: exactly equal scores under every seed",
    ),
    "an arm that equals another": (
        [
            *healthy(),
            *(dataclasses.replace(one, run=dataclasses.replace(one.run, arm="copy")) for one in healthy() if one.run.arm == "arm-1"),
        ],
        [],
        "arm-1 and copy: exactly equal scores under every seed",
    ),
    "an arm that equals another under the seeds that both have": (
        [*healthy(), *(dataclasses.replace(one, run=dataclasses.replace(one.run, arm="copy")) for one in healthy()[:2])],
        [],
        "none and copy: exactly equal scores under every seed",
    ),
    "seeds that change nothing": (
        [*healthy(seeds=3), *(run("fixed", seed, (0.9, 0.5, 0.3)) for seed in range(3))],
        [],
        "fixed: exactly equal scores under all seeds",
    ),
    "a class that no image has, and a run that predicts it": (
        [run("none", 0, (0.9, 0.6, math.nan), (0.8, 0.2, 0.0)), run("l2", 0, (0.8, 0.7, 0.0), (0.8, 0.2, 0.0))],
        [],
        "class pole: no pixel of the test split has it, and it counts as 0 in the mean of l2 (seed 0), which predict it",
    ),
    "a class that no image has and no run predicts": (
        [run(arm, seed, (0.9, 0.6 + seed / 100, math.nan), (0.8, 0.2, 0.0)) for arm in ("none",) for seed in range(2)],
        [],
        "class pole: no pixel of the test split has it, and every mean leaves it out",
    ),
    "a mean above 1": (changed(healthy(), val={"miou": 60.0}), [], "arm-1 (seed 6): a score is outside of 0 to 1 (val/miou 60)"),
    "the score of a class below 0": (
        changed(healthy(), per_class={"test": {"iou": (0.9, -0.1, 0.3)}}),
        [],
        "arm-1 (seed 6): a score is outside of 0 to 1 (test/iou/car -0.1)",
    ),
    "few steps": (
        healthy(),
        [log(one.run, [1.0, 0.9, 0.8]) for one in healthy()],
        "all 14 runs: trained for fewer than 50 optimizer steps (fewest: 30)",
    ),
    "a run that ended early": (
        healthy(seeds=3),
        [log(one.run, healthy_losses(GENERATOR, 12 if one.run == healthy(seeds=3)[-1].run else 20)) for one in healthy(seeds=3)],
        "arm-1 (seed 2): ended after fewer optimizer steps than another arm's run of the same seed (fewest: 120 of 200)",
    ),
    "a loss that still falls": (
        healthy(seeds=3),
        [log(one.run, STEEP.tolist() if one.run.arm == "arm-1" else healthy_losses(GENERATOR)) for one in healthy(seeds=3)],
        "arm-1: the training loss fell in the last quarter of the steps as fast as on average",
    ),
    "a test split that is too easy": (
        [run("none", seed, (0.9, 0.6, 0.3 + seed / 100), train=0.4) for seed in range(3)],
        [],
        "none (+20.33 points): test mIoU is more than 10 points above train mIoU",
    ),
    "networks that know their training images": (
        [run("none", seed, (0.9, 0.6, 0.3 + seed / 100), train=0.95) for seed in range(3)],
        [],
        "none (−34.67 points): test mIoU is more than 30 points below train mIoU",
    ),
    "a run that waits for data": (
        changed(healthy(), cost={"training_seconds": 100.0}),
        [RunLog(healthy()[-1].run, {"perf/data_wait": {0: 0.3, 1: 0.1}})],
        "arm-1 (seed 6): up to 20 % of the training time was spent waiting for data",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noted(fault: str) -> None:
    results, logs, expected = FAULTS[fault]
    found = noted(results, logs)
    assert any(note.startswith(expected) for note in found), found


def test_every_check_finds_a_fault() -> None:
    """A check that no case of the table reaches would be untested."""
    for check in health.CHECKS:
        evidence = [health.Evidence(results, compare(results, CRITERIA), logs) for results, logs, _ in FAULTS.values()]
        assert any(list(check(one)) for one in (*evidence, with_threads((1, 2)))), check


def test_arms_of_the_same_settings_are_noted_also_if_their_scores_differ() -> None:
    """As on a GPU whose sums have no fixed order."""
    results = healthy()
    arms = tuple(dict.fromkeys(result.run.arm for result in results))
    evidence = health.Evidence(results, compare(results, CRITERIA), (), alike=[arms])
    assert [note for note in health.notes(evidence) if "study.json describes them with the same settings" in note]
    assert not [note for note in health.notes(evidence._replace(alike=())) if "same settings" in note]


def test_runs_without_a_score_are_not_called_equal() -> None:
    """All their scores are NaN, and neither the seed nor the setting of the arm is why."""
    assert not any("exactly equal" in line for line in noted(without_scores(healthy(arms=3))))


def with_threads(threads: Sequence[int]) -> health.Evidence:
    """A healthy study of two arms, whose runs under one seed after the other had these numbers of threads."""
    results = healthy(seeds=len(threads))
    return health.Evidence(results, compare(results, CRITERIA), (), {one.run: threads[one.run.seed] for one in results})


def test_other_numbers_of_threads_are_noted() -> None:
    (note,) = health.notes(with_threads((1, 2, 1)))
    assert note.startswith(
        "the runs had different numbers of CPU threads (arm-1 (seeds 0, 2), none (seeds 0, 2): 1; arm-1 (seed 1), none (seed 1): 2)"
    )
    assert health.notes(with_threads((2, 2, 2))) == ()


def test_threads_are_those_of_runs_on_a_cpu(tmp_path: Path) -> None:
    """Read from the files that runs write. A damaged or missing file counts as unknown."""
    runs = [Run("s", "a", seed) for seed in range(4)]
    here = environment(on_gpu=False)
    for run, content in zip(runs, (here, here | {"device": "NVIDIA H200"}, {"threads": 1}), strict=False):
        run.directory(tmp_path).mkdir(parents=True)
        (run.directory(tmp_path) / "environment.json").write_text(json.dumps(content))
    assert cpu_threads(tmp_path, runs) == {runs[0]: torch.get_num_threads()}


@pytest.mark.parametrize(
    ("arms", "seeds"), [(2, 3), (2, 5), pytest.param(4, 7, marks=pytest.mark.slow), pytest.param(8, 10, marks=pytest.mark.slow)]
)
def test_a_healthy_study_has_rarely_a_note(arms: int, seeds: int) -> None:
    """An outlier and a loss that still falls are each noted in 1 % of healthy studies.

    The share over 200 studies is checked within three standard errors.
    """
    generator = np.random.default_rng(arms * seeds)
    false = 0
    for _ in range(200):
        results = normal_study(arms, seeds, generator)
        false += bool(noted(results, [log(one.run, healthy_losses(generator)) for one in results]))
    assert false / 200 <= 0.02 + 3 * math.sqrt(0.02 * 0.98 / 200)


@pytest.mark.parametrize("seeds", [5, 7, 10])
def test_the_rate_of_false_outliers(seeds: int) -> None:
    """Over 4,000 arms of normal values, the rate is near the promised one; the limit of 3.5 alone gives over 10 %."""
    drawn = np.random.default_rng(seeds).normal(size=(4000, seeds))
    assert 0.005 <= np.mean([bool(numbers.outliers(values, 0.0)) for values in drawn]) <= 0.015
    assert np.mean(np.abs(numbers.modified_z(drawn)).max(axis=-1) > 3.5) > 0.1


def test_flat_losses_are_rarely_called_falling() -> None:
    generator = np.random.default_rng(3)
    falling = [numbers.is_still_falling([generator.normal(0.5, 0.1, 20) for _ in range(3)]) for _ in range(1000)]
    assert np.mean(falling) <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / 1000)


def test_a_limit_is_never_below_that_of_the_source() -> None:
    assert numbers.outlier_limit(200, 0.5) == 3.5
    limits = [numbers.outlier_limit(seeds, 0.01) for seeds in (5, 7, 9, 15, 25)]
    assert limits == sorted(limits, reverse=True)


def test_the_modified_z_score_of_a_hand_computed_case() -> None:
    found = numbers.modified_z(np.array([2.1, 2.6, 2.4, 2.5, 2.3, 2.1, 2.3, 2.6, 8.2, 8.3]))  # median 2.45, MAD 0.15
    assert found == pytest.approx(0.6745 * (np.array([2.1, 2.6, 2.4, 2.5, 2.3, 2.1, 2.3, 2.6, 8.2, 8.3]) - 2.45) / 0.15)
    assert numbers.modified_z(np.array([1.0, 1.0, 1.0, 2.0])).tolist() == [0.0, 0.0, 0.0, math.inf]


@pytest.mark.parametrize(
    ("iou", "frequency", "collapsed"),
    [
        ((0.7, 0.0, 0.0), (0.7, 0.2, 0.1), True),
        ((0.7, 0.0, math.nan), (0.7, 0.3, 0.0), True),
        ((0.004, 0.003, 0.0), (0.7, 0.2, 0.1), True),
        ((0.7, 0.02, 0.0), (0.7, 0.2, 0.1), False),
        ((1.0, math.nan, math.nan), (1.0, 0.0, 0.0), False),  # the truth has one class too
        ((0.999, 0.2, math.nan), (0.9995, 0.0005, 0.0), False),  # a rare foreground is no collapse
    ],
)
def test_a_collapse(iou: Sequence[float], frequency: Sequence[float], collapsed: bool) -> None:
    assert numbers.is_collapsed(np.array(iou), np.array(frequency)) is collapsed


@pytest.mark.parametrize(
    "results",
    [
        healthy(),
        healthy(seeds=1),
        normal_study(1, 6, np.random.default_rng(4)),
        normal_study(5, 6, np.random.default_rng(5), spread=0.08),  # unsteady, but as normal as any
        with_scores(0.62, 0.621, 0.6245, 0.6215, 0.622, 0.6212, 0.6208),  # 0.3 points off is no matter, whatever the MAD
        study({"none": [0.5, 0.6], "l2": [0.52, 0.63]}),  # records without frequencies
        [run("none", seed, (0.9, 0.6, 0.3 + seed / 100), train=0.8) for seed in range(3)],
    ],
)
def test_no_note(results: list[Result]) -> None:
    assert noted(results) == ()


def test_few_seeds_tell_no_outlier_from_chance() -> None:
    results = with_scores(0.6, 0.61, 0.605, 0.1)
    assert not list(health.outliers(health.Evidence(results, compare(results, CRITERIA), ())))


@pytest.mark.parametrize("losses", [[], [1.0] * 20, [1.0, 0.5] * 10, [0.3] * 10 + [0.9] * 10])
def test_losses_that_do_not_fall(losses: list[float]) -> None:
    assert noted(healthy(), [log(one.run, losses) for one in healthy()]) == ()


def test_a_cost_has_no_outliers() -> None:
    results = [dataclasses.replace(one, cost={"seconds": 100.0 if one.run.seed == 0 else 10 + one.run.seed / 10}) for one in healthy()]
    assert noted(results, criteria=Criteria(Metric("cost", "seconds"), "none")) == ()


def test_notes_change_no_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They stand under the table and in the report, and the table is that of the results alone."""
    results = with_scores(0.38, 0.385, 0.381, 0.12, 0.377, 0.383, 0.379)
    record = StudyRecord("study", "none", "test/miou", {}, {"none": {}, "l2": {}})
    write_study(tmp_path / "study", results, record)
    found = analyse(read_folder(tmp_path / "study"))
    assert to_markdown(found.comparison) == to_markdown(compare(found.study.results, CRITERIA))
    assert len(found.health) == 1
    assert cli.read(["compare", str(tmp_path / "study")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        printed.index("no verdict" if "no verdict" in printed else "worse")
        < printed.index(f"! {found.health[0]}")
        < printed.index("report:")
    )
    assert found.health[0].split(".")[0] in (tmp_path / "study" / "report.html").read_text(encoding="utf-8")
    for log in (tmp_path / "study").glob("*/*/metrics.csv"):
        log.unlink()
    assert analyse(read_folder(tmp_path / "study")).health == found.health


@pytest.mark.parametrize(
    ("waits", "seconds", "is_noted"),
    [([0.3, 0.1], 100.0, True), ([0.09, 0.1], 1e4, False), ([0.9], 11.0, False), ([], 1e4, False), ([0.5], 20.0, True)],
)
def test_waiting_for_data_is_noted_if_it_is_long(waits: list[float], seconds: float, is_noted: bool) -> None:
    results = [dataclasses.replace(each, cost={"training_seconds": seconds}) for each in healthy()]
    logs = [RunLog(results[0].run, {"perf/data_wait": dict(enumerate(waits))})]
    found = noted(results, logs)
    assert bool(found) == is_noted
    if is_noted:
        mean = 100 * sum(waits) / len(waits)
        assert f"none (seed 0): up to {mean:.0f} % of the training time was spent waiting for data" in found[0]
        assert "--data.num_workers" in found[0]
        assert "--data.cache true" in found[0]
