"""Uncertainty for new images: scores of weighted images, the standard error, and its interval."""

import dataclasses
import math
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seglab import cli
from seglab.compare import Criteria, ImageFindings, Metric, analyse, compare, image_findings, read_folder
from seglab.compare.images import counts as counts_module
from seglab.compare.images import findings as findings_module
from seglab.compare.images.counts import ImageCounts, read_counts
from seglab.compare.images.findings import standard_error
from seglab.compare.images.resampling import DRAWS, resampled, units_of
from seglab.compare.images.scores import MEANS, PER_CLASS, statistic_of
from seglab.compare.numbers.images import crossed_interval
from seglab.compare.numbers.statistics import t_interval
from seglab.compare.tables.image_table import remarks
from seglab.metrics import image_scores, scores
from seglab.records import IMAGE_SCORES, Result, StudyRecord, write_result
from tests.compare.drawn import CLASSES, result, write_study

Matrices = NDArray[np.uint32]
NAMES = ("sky", "road", "car", "sign")


def drawn(images: int, classes: int = len(NAMES), seed: int = 0) -> Matrices:
    """Matrices of images in which classes are absent, and one image without a valid pixel."""
    generator = np.random.default_rng(seed)
    matrices = generator.integers(0, 50, (images, classes, classes)) * (generator.random((images, classes, 1)) < 0.6)
    matrices[-1] = 0
    return matrices.astype(np.uint32)


def counted(matrices: Matrices, groups: tuple[str, ...] | None = None) -> ImageCounts:
    hit, truth, predicted = matrices.diagonal(axis1=1, axis2=2), matrices.sum(2), matrices.sum(1)
    names = tuple(f"image {place}" for place in range(len(matrices)))
    return ImageCounts(names, groups, hit.astype(float), truth.astype(float), predicted.astype(float))


def by_torch(metric: Metric, matrices: NDArray[np.integer]) -> float:
    """Return a score by the code of an evaluation."""
    given = torch.from_numpy(matrices.astype(np.int64))
    found = scores(given.sum(0))
    if metric.class_name is not None:
        return found.per_class[metric.score][NAMES.index(metric.class_name)].item()
    return (found.mean | image_scores(given))[metric.score].item()


METRICS = [Metric("test", score) for score in (*MEANS, *IMAGE_SCORES)] + [Metric("test", score, "car") for score in PER_CLASS]


@pytest.mark.parametrize("metric", METRICS, ids=str)
def test_scores_of_weighted_images_are_those_of_repeated_images(metric: Metric) -> None:
    for seed in range(5):
        matrices = drawn(23, seed=seed)
        weights = np.concatenate([np.ones((1, 23), np.uint16), resampled(units_of(23, None), draws=8, seed=seed)])
        found = statistic_of(metric, NAMES)(counted(matrices), weights)
        expected = [by_torch(metric, np.repeat(matrices, row, axis=0)) for row in weights]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_every_score_of_an_evaluation_follows_from_the_matrices() -> None:
    known = scores(torch.zeros(2, 2, dtype=torch.int64))
    assert (set(MEANS), set(PER_CLASS)) == (set(known.mean), set(known.per_class))
    assert set(IMAGE_SCORES) == set(image_scores(torch.zeros(1, 2, 2, dtype=torch.int64)))


def test_a_score_without_a_class_in_a_resample_is_undefined() -> None:
    matrices = drawn(2)
    matrices[0] = np.diag([5, 5, 0, 5])
    matrices[1] = np.diag([0, 0, 5, 0])
    found = statistic_of(Metric.parse("test/iou/car"), NAMES)(counted(matrices), np.array([[2, 0], [1, 1]], np.uint16))
    np.testing.assert_array_equal(found, [math.nan, 1.0])


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        ("cost/seconds", "cost seconds is not counted image by image"),
        ("gap/miou", "train–val gap of mIoU is not counted image by image"),
        ("test/boundary_iou", "test boundary IoU does not follow from the confusion matrix of each image"),
        ("val/loss", "val loss does not follow"),
        ("test/iou/boat", "test IoU of boat does not follow"),
    ],
)
def test_other_metrics_say_why_not(metric: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        statistic_of(Metric.parse(metric), NAMES)


@pytest.mark.parametrize("chunk", [1, 300, 2**24])
@pytest.mark.parametrize("groups", [None, ("a", "a", "b", "c", "c", "c", "d")])
def test_files_are_read_in_parts(chunk: int, groups: tuple[str, ...] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts_module, "CHUNK", chunk)
    matrices = drawn(7)
    named = {} if groups is None else {"val_groups": np.array(groups)}
    np.savez_compressed(tmp_path / "confusion.npz", val=matrices, val_names=np.array([f"image {place}" for place in range(7)]), **named)  # type: ignore[arg-type]
    found, expected = read_counts(tmp_path / "confusion.npz", "val"), counted(matrices, groups)
    assert (found.names, found.groups) == (expected.names, groups)
    for part in ("hit", "truth", "predicted"):
        np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))


def test_large_files_take_little_memory(tmp_path: Path) -> None:
    np.savez(tmp_path / "confusion.npz", test=np.zeros((1000, 150, 150), np.uint32), test_names=np.arange(1000).astype(str))
    tracemalloc.start()
    read_counts(tmp_path / "confusion.npz", "test")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6, "the matrices alone are 90 MB"


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"val": np.zeros((2, 2, 2), int), "val_names": np.array(["a", "b"])}, "confusion.npz has no images of the split test"),
        ({"test": np.zeros((2, 2, 2), int), "test_names": np.array(["a"])}, "damaged (2 matrices for 1 names)"),
        ({"test": np.zeros((2, 2, 3), int), "test_names": np.array(["a", "b"])}, "damaged (an array (2, 2, 3) of int64"),
        ({"test": np.zeros((2, 2, 2)), "test_names": np.array(["a", "b"])}, "damaged (an array (2, 2, 2) of float64"),
        (
            {"test": np.zeros((2, 2, 2), int), "test_names": np.array(["a", "b"]), "test_groups": np.array(["a"])},
            "damaged (2 matrices for 2 names, 1 groups)",
        ),
    ],
)
def test_damaged_files_are_named(arrays: Mapping[str, NDArray[np.generic]], why: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "confusion.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"confusion\.npz") as error:
        read_counts(tmp_path / "confusion.npz", "test")
    assert why in str(error.value)


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.95])
def test_a_file_that_ends_early_is_damaged(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "confusion.npz"
    with pytest.raises(ValueError, match=r"confusion\.npz is missing"):
        read_counts(path, "test")
    np.savez_compressed(path, test_names=np.array(["a"] * 50), test=drawn(50))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept if kept > 1 else kept * len(content))])
    with pytest.raises(ValueError, match=r"confusion\.npz is damaged"):
        read_counts(path, "test")


def write_images(
    folder: Path, results: list[Result], matrices: Mapping[tuple[str, int], Matrices], groups: list[str] | None = None
) -> None:
    """Write results and their matrices, and the scores that follow from these."""
    for one in results:
        given = matrices[one.run.arm, one.run.seed]
        found = scores(torch.from_numpy(given.astype(np.int64)).sum(0))
        test = {name: value.item() for name, value in found.mean.items()}
        directory = one.run.directory(folder)
        write_result(directory / "result.json", dataclasses.replace(one, test=test, identity=one.identity))
        named = {} if groups is None else {"test_groups": np.array(groups)}
        names = np.array([f"image {place}" for place in range(len(given))])
        np.savez_compressed(directory / "confusion.npz", test=given, test_names=names, **named)  # type: ignore[arg-type]


def accuracies(values: NDArray[np.float64]) -> Matrices:
    """Return matrices of two classes, 10^6 pixels each, with these accuracies (N,)."""
    right = np.round(values * 1e6).astype(np.uint32)
    wrong = np.uint32(10**6) - right
    return np.stack([np.stack([right, wrong], -1), np.zeros((len(values), 2), np.uint32)], axis=1)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A study of two arms whose differences are drawn, and its answer by pixel accuracy."""

    folder: Path
    accuracy: dict[tuple[str, int], NDArray[np.float64]]
    """(N,) by arm and seed."""

    def found(self, metric: str = "test/pixel_accuracy", margin: float | None = None) -> ImageFindings:
        study = read_folder(self.folder)
        return analyse(study, Criteria(Metric.parse(metric), "none", margin=margin)).images

    def remarks(self, margin: float | None = None) -> str:
        study = read_folder(self.folder)
        found = analyse(study, Criteria(Metric.parse("test/pixel_accuracy"), "none", margin=margin))
        return " ".join(remarks(found.comparison, found.images))


def effects(mean: float, sd: float, images: int = 60) -> NDArray[np.float64]:
    """Return normal values of this very mean and standard deviation."""
    values = np.random.default_rng(0).normal(size=images)
    return np.asarray(mean + sd * (values - values.mean()) / values.std(ddof=1))


def draw_study(folder: Path, effect: NDArray[np.float64], seeds: int = 8, groups: list[str] | None = None) -> Drawn:
    """Arm l1 is better than none by `effect` (N,) on each image, and a little noise of each seed."""
    generator = np.random.default_rng(7)
    base = generator.uniform(0.3, 0.6, len(effect))
    accuracy = {}
    for seed in range(seeds):
        accuracy["none", seed] = base + generator.normal(0, 0.002)
        accuracy["l1", seed] = base + effect + generator.normal(0, 0.002)
    results = [result(arm, seed, 0.5) for arm, seed in accuracy]
    write_study(folder, results, None)
    write_images(folder, results, {run: accuracies(values) for run, values in accuracy.items()}, groups)
    return Drawn(folder, accuracy)


def test_the_standard_error_is_that_of_a_mean(tmp_path: Path) -> None:
    """All images have equally many pixels, so the accuracy is a mean over images with a known standard error."""
    study = draw_study(tmp_path, effects(0.01, 0.02))
    found = study.found().intervals["l1"]
    mean = np.mean([study.accuracy["l1", seed] - study.accuracy["none", seed] for seed in range(8)], axis=0)
    assert found.image_se == pytest.approx(mean.std(ddof=1) / math.sqrt(60), rel=4 / math.sqrt(2 * DRAWS))
    differences = np.array([(study.accuracy["l1", seed] - study.accuracy["none", seed]).mean() for seed in range(8)])
    assert found.seed_se == pytest.approx(differences.std(ddof=1) / math.sqrt(8), rel=1e-3)
    wide = crossed_interval(differences, found.image_se, 60)
    assert (found.low, found.high) == pytest.approx(wide, rel=1e-3)


def test_a_difference_that_holds_on_these_images_only_is_noted(tmp_path: Path) -> None:
    study = draw_study(tmp_path, effects(0.004, 0.02))
    assert "l1: for new images too, the interval [" in study.remarks()
    assert "holds 0: the difference may be one of these 60 images only" in study.remarks()
    assert "leaves ±1 points: the equivalence may be one on these 60 images only" in draw_study(
        tmp_path / "equivalent", effects(0.0, 0.04)
    ).remarks(margin=0.01)
    certain = draw_study(tmp_path / "certain", np.full(60, 0.05))
    assert certain.remarks() == ""


def test_whole_groups_are_resampled(tmp_path: Path) -> None:
    """Images of a group are equal here, so that 60 images say as much as 6."""
    of_group = effects(0.01, 0.02, 6)
    groups = [f"patient {place // 10}" for place in range(60)]
    alone = draw_study(tmp_path / "alone", np.repeat(of_group, 10))
    grouped = draw_study(tmp_path / "grouped", np.repeat(of_group, 10), groups=groups)
    narrow, wide = alone.found().intervals["l1"], grouped.found().intervals["l1"]
    assert wide.image_se == pytest.approx(of_group.std(ddof=1) / math.sqrt(6), rel=4 / math.sqrt(2 * DRAWS))
    assert wide.image_se > 2.5 * narrow.image_se
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert "group" not in grouped.remarks().replace("these 60 images", "")


def test_few_groups_are_not_resampled_and_that_is_said(tmp_path: Path) -> None:
    effect = effects(0.05, 0.01)
    few = draw_study(tmp_path / "few", effect, groups=["one", "two"] * 30)
    assert few.found().intervals == draw_study(tmp_path / "none", effect).found().intervals
    assert "the test images are of 2 groups (one, two), too few to resample groups" in few.remarks()


def test_an_older_file_without_groups_takes_those_of_the_others(tmp_path: Path) -> None:
    groups = [f"patient {place // 10}" for place in range(60)]
    study = draw_study(tmp_path, effects(0.05, 0.01), groups=groups)
    expected = study.found()
    path = tmp_path / "l1" / "seed-0" / "confusion.npz"
    with np.load(path) as arrays:
        np.savez(path, test=arrays["test"], test_names=arrays["test_names"])
    found = study.found()
    assert found.units == expected.units
    assert found.intervals == expected.intervals


def test_images_in_the_order_of_ranks_are_matched_by_name(tmp_path: Path) -> None:
    study = draw_study(tmp_path, effects(0.05, 0.01))
    expected = study.found().intervals
    path, order = tmp_path / "l1" / "seed-3" / "confusion.npz", [*range(0, 60, 2), *range(1, 60, 2)]
    with np.load(path) as arrays:
        np.savez(path, test=arrays["test"][order], test_names=arrays["test_names"][order])
    assert study.found().intervals == expected


def test_unusable_files_are_named_and_their_contrast_has_no_interval(tmp_path: Path) -> None:
    study = draw_study(tmp_path, effects(0.05, 0.01))
    (tmp_path / "l1" / "seed-1" / "confusion.npz").unlink()
    found = study.found()
    assert found.intervals == {}
    assert found.problems == ("l1, seed 1: confusion.npz is missing",)
    assert len(found.mious) == 15
    path = tmp_path / "none" / "seed-2" / "confusion.npz"
    with np.load(path) as arrays:
        changed, names = arrays["test"][:, ::-1], arrays["test_names"]
    np.savez(path, test=changed, test_names=names)
    assert "none, seed 2: confusion.npz gives a score of" in " ".join(study.found().problems)
    np.savez(path, test=changed, test_names=np.char.add(names, "x"))
    assert "its 60 images are not the 60 images of the other runs" in " ".join(study.found().problems)


def test_more_runs_than_are_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = draw_study(tmp_path, np.full(10, 0.05))
    monkeypatch.setattr(findings_module, "MOST_RUNS", 15)
    assert study.found().problems == ("16 runs are more than the 15 that are read; seglab.compare.image_findings reads all",)
    monkeypatch.undo()
    monkeypatch.setattr(findings_module, "MOST_BYTES", 1000)
    assert "the matrices of 16 runs, 0 MB each, are too large" in study.found().problems[0]
    folder = read_folder(tmp_path)
    criteria = Criteria(Metric.parse("test/pixel_accuracy"), "none")
    assert image_findings(tmp_path, folder.results, compare(folder.results, criteria)).intervals


def test_compare_prints_the_intervals_and_the_report_has_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "study"
    draw_study(folder, effects(0.004, 0.02))
    (folder / "study.json").unlink(missing_ok=True)
    words = ["compare", str(folder), "--metric", "test/pixel_accuracy", "--baseline", "none"]
    assert cli.read(words) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "for new images too [95 %]" in printed
    assert "the same resamples of the 60 test images in every run" in printed
    assert "holds 0: the difference may be one of these 60 images only" in printed
    page = next(folder.glob("report*.html")).read_text()
    assert ">For new images too</h2>" in page
    assert "holds 0: the difference may be one of these 60 images only" in page


def test_a_study_without_matrices_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "study"
    results = [result(arm, seed, 0.5 + seed / 100) for arm in ("none", "l1") for seed in range(6)]
    write_study(folder, results, StudyRecord("study", "none", "test/miou", {}, {"none": {}, "l1": {}}))
    assert cli.read(["compare", str(folder)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "no interval for new images: none, seed 0 and 11 more runs: confusion.npz is missing" in printed


def test_a_metric_of_a_shift_has_no_interval_and_shows_the_test_images(tmp_path: Path) -> None:
    draw_study(tmp_path, effects(0.004, 0.02))
    results = [dataclasses.replace(one, shift={"noise-3": one.test}) for one in read_folder(tmp_path).results]
    found = image_findings(tmp_path, results, compare(results, Criteria(Metric.parse("shift/noise-3/pixel_accuracy"), "none")))
    assert found.problems == ("pixel accuracy under noise-3 is not counted image by image; val and test scores are",)
    assert (found.split, found.intervals, len(found.mious)) == ("test", {}, 16)


def test_an_older_result_without_the_scores_of_images_says_so(tmp_path: Path) -> None:
    write_study(tmp_path, [result("none", 0, 0.5)], StudyRecord("study", "none", "test/miou", {}, {"none": {}}))
    study = read_folder(tmp_path)
    with pytest.raises(ValueError, match=r"study/none/s0 has no test/image_miou: seglab 0.1.0 did not compute scores of single images"):
        analyse(study, study.criteria(metric="test/image_miou"))
    assert len(CLASSES) == 2


@pytest.mark.slow
def test_coverage_for_new_seeds_and_new_images() -> None:
    """For differences seed + image + rest, the interval covers the mean over all seeds and images.

    The t interval does not cover it in this two-way model.
    """
    generator, studies, seeds, images = np.random.default_rng(0), 600, 8, 40
    units = units_of(images, None)
    weights = resampled(units)
    statistic = statistic_of(Metric.parse("test/pixel_accuracy"), ("a", "b"))
    covered = np.zeros((studies, 2))
    for study in range(studies):
        of_seed, of_image = generator.normal(0, 0.01, (seeds, 1)), generator.normal(0, 0.04, images)
        difference = 0.02 + of_seed + of_image + generator.normal(0, 0.01, (seeds, images))
        base = generator.uniform(0.4, 0.6, images)
        pairs = [[statistic(counted(accuracies(values)), weights) for values in (base + own, base)] for own in difference]
        replicates = np.mean([ours - theirs for ours, theirs in pairs], axis=0)
        over_seeds = difference.mean(axis=1)
        low, high = crossed_interval(over_seeds, standard_error(replicates, units), units.number)
        narrow_low, narrow_high = t_interval(over_seeds)
        covered[study] = low <= 0.02 <= high, narrow_low <= 0.02 <= narrow_high
    both, alone = covered.mean(axis=0)
    assert 0.93 <= both <= 0.97
    assert alone < 0.85
