"""Statements over data sets: against values and loops by hand."""

import numpy as np
import pytest
import scipy.stats

from seglab.compare.numbers import sets


def drawn(sizes: tuple[int, ...] = (6, 5, 9), seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.normal(place, 1, size) for place, size in enumerate(sizes)]


def test_the_values_by_hand() -> None:
    differences = [np.array([1.0, 3.0]), np.array([0.0, 0.0]), np.array([4.0, 8.0])]  # means 2, 0, 6
    assert sets.mean_over_sets(differences).value == pytest.approx(8 / 3)
    assert sets.median_over_sets(differences).value == 2
    assert sets.interquartile_mean(differences).value == 2  # of 0 0 1 3 4 8, the middle four
    first, second = drawn(seed=1)[0], drawn(seed=2)[0]
    mann_whitney = scipy.stats.mannwhitneyu(first, second).statistic / 36
    assert sets.probability_of_improvement([first], [second]).value == pytest.approx(mann_whitney)
    scores, baseline = [np.array([1.0, 2.0]), np.array([5.0])], [np.array([1.0, 0.0]), np.array([6.0])]
    assert sets.probability_of_improvement(scores, baseline).value == pytest.approx((3.5 / 4 + 0) / 2)


def test_the_intervals_are_those_of_a_loop() -> None:
    """The same bootstrap, one draw and one data set at a time, with other random numbers."""
    differences, generator = drawn(), np.random.default_rng(5)
    ours, theirs = drawn(seed=1), drawn(seed=2)
    found: dict[str, list[float]] = {"mean": [], "median": [], "iqm": [], "p": []}
    for _ in range(1200):
        resampled = [generator.choice(values, len(values)) for values in differences]
        means = [values.mean() for values in resampled]
        found["mean"].append(float(np.mean(means)))
        found["median"].append(float(np.median(means)))
        found["iqm"].append(float(scipy.stats.trim_mean(np.concatenate(resampled), 0.25)))
        wins = []
        for x, y in zip(ours, theirs, strict=True):
            resampled = [generator.choice(x, len(x)), generator.choice(y, len(y))]
            wins.append(0.5 + np.sign(np.subtract.outer(*resampled)).mean() / 2)
        found["p"].append(float(np.mean(wins)))
    for name, estimate in (
        ("mean", sets.mean_over_sets(differences)),
        ("median", sets.median_over_sets(differences)),
        ("iqm", sets.interquartile_mean(differences)),
        ("p", sets.probability_of_improvement(ours, theirs)),
    ):
        low, high = np.quantile(found[name], [0.025, 0.975])
        assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=0.1 * (high - low)), name
        assert estimate.low < estimate.value < estimate.high


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.9])
def test_the_interval_of_an_improvement_covers(alike: float) -> None:
    """Runs of one seed are more or less alike. The true P(X > Y) is in at least 90 % of the intervals of 95 %."""
    generator, covered = np.random.default_rng(3), 0
    truth = scipy.stats.norm.cdf(1 / np.sqrt(2))
    for _ in range(100):
        common = generator.normal(size=(3, 7))
        ours, theirs = (np.sqrt(alike) * common + np.sqrt(1 - alike) * generator.normal(size=(3, 7)) for _ in range(2))
        found = sets.probability_of_improvement(list(ours + 1), list(theirs))
        covered += found.low <= truth <= found.high
    assert covered >= 90


def test_sets_without_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 data sets with \[3, 0\] seeds"):
        sets.mean_over_sets([np.zeros(3), np.zeros(0)])
