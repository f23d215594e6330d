"""Error rates and power of the whole comparison: studies are drawn, and judged by the public functions.

A rate is compared with its nominal value plus three standard errors of the number of studies, so that a right procedure
fails in less than 1 of 700 cells. The quick tests draw many studies, but judge them by the test and the adjustment
alone. The slow tests would notice a family that the public functions do not adjust; the weekly tests measure the rates
to half a point.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import ArrayLike

from seglab.compare import Contrast, Criteria, Metric, compare, compare_factors
from seglab.compare.numbers import exact, families
from seglab.compare.numbers.detectable import detectable
from seglab.compare.numbers.looks import Ending, Endings
from seglab.compare.numbers.resampled import resampled_p
from seglab.compare.numbers.sequential import always_valid_p
from seglab.compare.numbers.statistics import equivalence_p
from seglab.compare.splits import DataSplits
from seglab.records import Analysis, Result, Run
from tests.compare.shaffer import shaffer

Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
METRIC = Metric("test", "miou")
SD = 0.01
"""Standard deviation of a paired difference, in units of mIoU: one point."""
DIFFERENT = ("better", "worse", "effects differ")

NOISES: dict[str, Noise] = {
    "normal": lambda generator, size: generator.normal(size=size),
    "t3": lambda generator, size: generator.standard_t(3, size=size),
    "exponential": lambda generator, size: generator.exponential(size=size),
    "tied": lambda generator, size: np.round(generator.normal(size=size)),
}


def studies(few: int, many: int) -> pytest.MarkDecorator:
    """Run a test with few studies among the slow tests, and with many among the weekly ones."""
    return pytest.mark.parametrize("studies", [pytest.param(few, marks=pytest.mark.slow), pytest.param(many, marks=pytest.mark.weekly)])


def spread(rate: float, number: int) -> float:
    return math.sqrt(rate * (1 - rate) / number)


def limit(rate: float, number: int) -> float:
    return rate + 3 * spread(rate, number)


def report(what: str, found: ArrayLike, seed: int) -> float:
    rate = float(np.mean(np.asarray(found)))
    print(f"{what}: {rate:.4f} of {np.size(found)} studies, generator seed {seed}")
    return rate


def runs(scores: np.ndarray, arms: Sequence[str], diverged: np.ndarray | None = None) -> tuple[list[Result], Endings]:
    """Return the results of (arms, seeds) scores, and the endings of `diverged` runs, which have no result."""
    results: list[Result] = []
    endings: dict[Run, Ending] = {}
    for (place, seed), score in np.ndenumerate(scores):
        run = Run("study", arms[place], seed)
        if diverged is not None and diverged[place, seed]:
            endings[run] = "diverged"
        else:
            results.append(Result(run, run.arm, ("road",), {}, {"miou": float(score)}, {}, {}, None, "0"))
    return results, endings


def contrasts(scores: np.ndarray, margin: float | None = None) -> tuple[Contrast, ...]:
    """Return the contrasts of (arms, seeds) scores; the first arm is the baseline."""
    arms = [f"arm{place}" for place in range(len(scores))]
    return compare(runs(scores, arms)[0], Criteria(METRIC, "arm0", margin=margin)).contrasts


def arms_at(effects: Sequence[float], n: int, noise: Noise, generator: np.random.Generator) -> np.ndarray:
    """Return (1 + len(effects), n) scores of a baseline and of arms with true differences `effects`.

    The unit is the standard deviation of a normal paired difference.
    """
    shape = (1 + len(effects), n)
    found: np.ndarray = 0.5 + SD * (np.array([0, *effects])[:, None] + noise(generator, shape) / math.sqrt(2) + generator.normal(size=n))
    return found


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("n", [8, 10])
def test_the_test_and_holm_hold_the_rate(n: int, noise: str) -> None:
    generator = np.random.default_rng(n)
    arms = NOISES[noise](generator, (8000, 4, n)) + generator.normal(size=(8000, 1, n))
    found = (families.holm(exact.sign_flip_p(arms[:, 1:] - arms[:, :1])) <= 0.05).any(axis=-1)
    assert report(f"A/A, {noise}, {n} seeds, any of 3", found, n) <= 0.06


def test_the_documented_rate_of_who_stops_at_the_first_significant_p() -> None:
    differences = np.random.default_rng(6).normal(size=(2000, 20))
    found = (np.array([exact.sign_flip_p(differences[:, :n]) for n in range(6, 21)]) <= 0.05).any(axis=0)
    assert report("peeking at 6 to 20 seeds", found, 6) == pytest.approx(0.16, abs=3 * spread(0.16, 2000))


@pytest.mark.parametrize(("n", "power"), [(10, 0.45), (20, 0.89)])
def test_the_documented_power_of_tests_at_any_time(n: int, power: float) -> None:
    p = always_valid_p(np.random.default_rng(7).normal(1.0, size=(20_000, n)), 1.0)
    assert report(f"e-process, {n} seeds", p[:, -1] <= 0.05, 7) == pytest.approx(power, abs=0.005 + 3 * spread(power, 20_000))


def test_the_documented_power_of_both_families() -> None:
    generator = np.random.default_rng(8)
    arms = math.sqrt(2) + generator.normal(size=(3000, 3, 10))
    differences = (arms - generator.normal(size=(3000, 1, 10))) / math.sqrt(2)  # three real differences of one standard deviation
    p, same = exact.sign_flip_p(differences), equivalence_p(differences, 1.0)
    found = [shaffer(*problem)[0] <= 0.05 for problem in zip(p, same, strict=True)]
    assert report("Shaffer, each of 3", found, 8) == pytest.approx(0.57, abs=3 * spread(0.57, 3000))
    assert report("Holm, each of 3", families.holm(p) <= 0.05, 8) == pytest.approx(0.69, abs=3 * spread(0.69, 3000))


@studies(150, 2000)
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("n", [8, 10])
def test_equal_arms_are_rarely_called_different(n: int, noise: str, studies: int) -> None:
    generator = np.random.default_rng(n)
    found = [
        any(contrast.verdict in DIFFERENT for contrast in contrasts(arms_at((0, 0, 0), n, NOISES[noise], generator)))
        for _ in range(studies)
    ]
    assert report(f"A/A, {noise}, {n} seeds, any of 3", found, n) <= limit(0.05, studies)


def peeked(scores: np.ndarray, criteria: Criteria) -> bool:
    """Return whether any verdict is 'better' or 'worse' if a study is compared after each seed from the sixth on."""
    looks = (compare(runs(scores[:, :n], ("arm0", "arm1"))[0], criteria).contrasts for n in range(6, scores.shape[1] + 1))
    return any(contrast.verdict in DIFFERENT for look in looks for contrast in look)


def plan(total: int, looks: tuple[int, ...] = (), always_valid: bool = False) -> Criteria:
    declared = Analysis("arm0", str(METRIC), SD, 0.05, ("arm0", "arm1"), tuple(range(total)), looks, always_valid)
    return Criteria(METRIC, "arm0", margin=SD, declared=declared)


PEEKING = pytest.mark.parametrize(
    ("total", "studies"), [pytest.param(12, 200, marks=pytest.mark.slow), pytest.param(20, 500, marks=pytest.mark.weekly)]
)


@PEEKING
def test_peeking_by_planned_looks_or_none_keeps_the_rate(total: int, studies: int) -> None:
    """Without looks a study has one verdict, when all declared seeds are done.

    Both plans are followed after every seed.
    """
    generator, found = np.random.default_rng(1), []
    plans = plan(total, tuple(range(8, total, 2))), plan(total)
    for place in range(studies):
        scores = arms_at((0,), total, NOISES["normal"], generator)
        found.append(peeked(scores, plans[0] if place % 4 else plans[1]))
    assert report(f"peeking at 6 to {total} seeds, planned looks", found, 1) <= limit(0.05, studies)


@PEEKING
def test_peeking_with_always_valid_tests_keeps_the_rate(total: int, studies: int) -> None:
    generator, criteria = np.random.default_rng(2), plan(total, always_valid=True)
    found = [peeked(arms_at((0,), total, NOISES["normal"], generator), criteria) for _ in range(studies)]
    assert report(f"peeking at 6 to {total} seeds, always valid", found, 2) <= limit(0.05, studies)


def test_peeking_without_a_plan_would_not_keep_it() -> None:
    differences = np.random.default_rng(3).normal(size=(2000, 12))
    found = np.array([exact.sign_flip_p(differences[:, :n]) <= 0.05 for n in range(6, 13)]).any(axis=0)
    assert report("peeking at 6 to 12 seeds, no plan", found, 3) > 0.1


def test_two_looks_cost_little_power() -> None:
    """Two looks, at 8 and 12 seeds with 0.01 and 0.04, have the power 0.863, and one look has 0.887.

    Both powers are at one standard deviation, by an independent simulation.
    """
    noise = np.random.default_rng(4).normal(size=(8000, 12))
    first, last = exact.sign_flip_p(noise[:, :8] + 1), exact.sign_flip_p(noise + 1)
    assert report("power of two looks", (first <= 0.01) | (last <= 0.04), 4) == pytest.approx(0.863, abs=0.015)
    assert report("power of one look", last <= 0.05, 4) == pytest.approx(0.887, abs=0.015)
    assert report("A/A of two looks", (exact.sign_flip_p(noise[:, :8]) <= 0.01) | (exact.sign_flip_p(noise) <= 0.04), 4) <= 0.05


@studies(300, 2000)
@pytest.mark.parametrize("n", [8, 12])
def test_a_family_of_differences_and_equivalences(n: int, studies: int) -> None:
    """One arm equals the baseline, one is a margin apart.

    Each kind of error has its own rate, so that both together have up to twice the rate.
    """
    generator = np.random.default_rng(n)
    different, within, words = [], [], []
    for _ in range(studies):
        same, apart = contrasts(arms_at((0, 1), n, NOISES["normal"], generator), margin=SD)
        different.append(same.verdict in DIFFERENT)
        within.append(apart.within_margin)
        words.append(same.verdict in DIFFERENT or apart.verdict == "equivalent")
    assert report("no difference called one", different, n) <= limit(0.05, studies)
    assert report("a margin apart, called within it", within, n) <= limit(0.05, studies)
    assert report("a wrong word for either", words, n) <= limit(0.1, studies)


def test_shaffers_family_has_one_rate_for_both_kinds() -> None:
    generator = np.random.default_rng(5)
    arms = generator.normal(size=(3000, 2, 10)) + np.array([0, math.sqrt(2)])[:, None]
    differences = (arms - generator.normal(size=(3000, 1, 10))) / math.sqrt(2)  # the second is a margin of 1 apart
    p, same = exact.sign_flip_p(differences), equivalence_p(differences, 1.0)
    adjusted = [shaffer(*problem) for problem in zip(p, same, strict=True)]
    found = [bool(different[0] <= 0.05 or within[1] <= 0.05) for different, within in adjusted]
    assert report("Shaffer, either error", found, 5) <= limit(0.05, 3000)
    two = (families.holm(p)[:, 0] <= 0.05) | (families.holm(same)[:, 1] <= 0.05)
    assert report("two Holm families, either error", two, 5) > 0.07


@studies(300, 2000)
@pytest.mark.parametrize("share", [0.2, 0.4])
def test_an_arm_is_not_better_because_its_bad_runs_diverge(share: float, studies: int) -> None:
    """Equal arms; the worst runs of one diverge.

    Without the diverged runs it is called better in 6 % to 8 % of the studies.
    """
    generator = np.random.default_rng(6)
    better, survivors = [], []
    for _ in range(studies):
        scores = arms_at((0,), 12, NOISES["normal"], generator)
        diverged = np.zeros(scores.shape, dtype=bool)
        diverged[1] = scores[1] < np.quantile(scores[1], share)
        results, endings = runs(scores, ("arm0", "arm1"), diverged)
        criteria = Criteria(METRIC, "arm0", margin=SD)
        better.append(compare(results, criteria, endings).contrasts[0].verdict == "better")
        survivors.append(compare(results, criteria).contrasts[0].verdict == "better")
    assert report(f"better, {share:.0%} of its runs diverged", better, 6) <= limit(0.025, studies)
    assert report(f"better, {share:.0%} of its runs dropped", survivors, 6) > 0.03


POWERS = pytest.mark.parametrize(("effects", "expected"), [((1,), 0.791), ((1, 1, 1), 0.687), ((1, 0, 0), 0.573)])
"""Power for the first arm at one standard deviation and 10 seeds, by an independent simulation. The error of the
simulation is 0.005.
"""


@POWERS
def test_the_power_of_the_test_and_holm(effects: tuple[float, ...], expected: float) -> None:
    generator = np.random.default_rng(11)
    arms = generator.normal(size=(8000, len(effects), 10)) + math.sqrt(2) * np.array(effects)[:, None]
    p = families.holm(exact.sign_flip_p(arms - generator.normal(size=(8000, 1, 10))))
    assert report(f"power, true effects {effects}", p[:, 0] <= 0.05, 11) == pytest.approx(expected, abs=0.02)


@studies(200, 2000)
@POWERS
def test_the_power_at_one_standard_deviation(effects: tuple[float, ...], expected: float, studies: int) -> None:
    generator = np.random.default_rng(7)
    found = [contrasts(arms_at(effects, 10, NOISES["normal"], generator))[0].verdict == "better" for _ in range(studies)]
    assert report(f"power, true effects {effects}", found, 7) == pytest.approx(expected, abs=0.02 + 3 * spread(expected, studies))


@studies(200, 2000)
@pytest.mark.parametrize(("n", "m"), [(7, 1), (8, 3), (11, 7)])
def test_the_power_at_the_detectable_difference(n: int, m: int, studies: int) -> None:
    """One arm has the detectable difference, and the others have none.

    Their p is seldom small, so that the first step of Holm decides.
    """
    generator, effect = np.random.default_rng(8), detectable(1.0, n, m, 0.05)
    found = [contrasts(arms_at((effect, *[0] * (m - 1)), n, NOISES["normal"], generator))[0].verdict == "better" for _ in range(studies)]
    assert report(f"power at {effect:.2f} sd, {n} seeds, {m} contrasts", found, 8) == pytest.approx(
        0.8, abs=0.03 + 3 * spread(0.8, studies)
    )


@studies(200, 2000)
def test_equal_cells_of_two_factors_are_rarely_called_different(studies: int) -> None:
    """One error rate holds for the whole table: main effects and interaction are one family.

    Simple effects follow the interaction.
    """
    generator, cells = np.random.default_rng(9), ("a+c", "a+d", "b+c", "b+d")
    found = []
    for _ in range(studies):
        results, _endings = runs(arms_at((0, 0, 0), 8, NOISES["normal"], generator), cells)
        effects = compare_factors(results, ("first", "second"), Criteria(METRIC, "a+c", margin=SD)).effects
        found.append(any(effect.verdict in DIFFERENT for effect in effects))
    assert report("two factors, any effect", found, 9) <= limit(0.05, studies)


def split_differences(number: int, seed: int) -> np.ndarray:
    """Return (number, 10) differences of two learners, equal by symmetry, on ten overlapping splits of 100 examples.

    y = x₁ + x₂ + noise. One learner regresses y on x₁, the other on x₂; the squared errors on 10 test examples are
    compared.
    """
    generator, rows = np.random.default_rng(seed), np.arange(number)[:, None]
    x = generator.normal(size=(number, 100, 2))
    y = x.sum(axis=-1) + generator.normal(size=(number, 100))
    found = []
    for _ in range(10):
        order = generator.permuted(np.tile(np.arange(100), (number, 1)), axis=1)
        test, train = order[:, :10], order[:, 10:]
        losses = []
        for learner in (0, 1):
            features = x[..., learner]
            slope = (features[rows, train] * y[rows, train]).sum(axis=1) / (features[rows, train] ** 2).sum(axis=1)
            losses.append(((y[rows, test] - slope[:, None] * features[rows, test]) ** 2).mean(axis=1))
        found.append(losses[0] - losses[1])
    return np.stack(found, axis=1)


def test_equal_learners_on_overlapping_splits() -> None:
    differences = split_differences(3000, seed=10)
    corrected, plain = (resampled_p(differences, share) <= 0.05 for share in (10 / 90, 0.0))
    assert report("overlapping splits, corrected", corrected, 10) <= limit(0.05, 3000)
    assert report("overlapping splits, Student's t", plain, 10) > 0.1


def cross_validated_losses(number: int, seed: int) -> np.ndarray:
    """Return (number, 2, 10) losses of both learners of `split_differences` in 2 repetitions of 5 folds.

    Each data set has 100 examples.
    """
    generator, rows = np.random.default_rng(seed), np.arange(number)[:, None]
    x = generator.normal(size=(number, 100, 2))
    y = x.sum(axis=-1) + generator.normal(size=(number, 100))
    found = []
    for _ in range(2):
        order = generator.permuted(np.tile(np.arange(100), (number, 1)), axis=1)
        for fold in range(5):
            test, train = order[:, 20 * fold : 20 * fold + 20], np.delete(order, np.s_[20 * fold : 20 * fold + 20], axis=1)
            slopes = [(x[rows, train, own] * y[rows, train]).sum(1) / (x[rows, train, own] ** 2).sum(1) for own in (0, 1)]
            found.append([((y[rows, test] - slopes[own][:, None] * x[rows, test, own]) ** 2).mean(1) for own in (0, 1)])
    return np.moveaxis(np.array(found), -1, 0).swapaxes(1, 2)


@studies(400, 4000)
def test_equal_learners_in_repeated_cross_validation(studies: int) -> None:
    splits = DataSplits(5, train=80, val=0, test=20)
    found: dict[str, list[bool]] = {"data splits": [], "seeds": []}
    for losses in cross_validated_losses(studies, seed=11):
        results = runs(1 - losses / 10, ["first", "second"])[0]
        for name, criteria in (("data splits", Criteria(METRIC, "first", splits=splits)), ("seeds", Criteria(METRIC, "first"))):
            found[name].append(compare(results, criteria).contrasts[0].verdict in DIFFERENT)
    assert report("2 x 5 folds, A/A, corrected", found["data splits"], 11) <= 0.06
    assert report("2 x 5 folds, A/A, taken for independent seeds", found["seeds"], 11) > 0.1
