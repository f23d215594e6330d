"""Statements over data sets: against loops by hand, and against integration of the posterior over a plain grid."""

import numpy as np
import pytest
import scipy.stats

from seglab.compare.numbers import sets
from seglab.compare.numbers.hierarchical import next_set


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
            places = generator.integers(0, len(x), len(x))
            wins.append(0.5 + np.sign(np.subtract.outer(x[places], y[places])).mean() / 2)
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


def test_sets_without_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 data sets with \[3, 0\] seeds"):
        sets.mean_over_sets([np.zeros(3), np.zeros(0)])


def by_plain_grid(means: np.ndarray, errors: np.ndarray, margin: float) -> tuple[float, float, float]:
    """P(δ < -margin), P(δ > margin) and E(μ) by a sum over a grid of (μ, τ), with no closed form except the densities."""
    mu, tau = np.linspace(-20, 20, 801)[:, None], (np.arange(1500)[None, :] + 0.5) / 40
    density = np.ones((801, 1500))
    for centre, error in zip(means, errors, strict=True):
        density *= scipy.stats.norm.pdf(centre, mu, np.sqrt(error**2 + tau**2))
    density /= density.sum()
    below = (density * scipy.stats.norm.cdf(-margin, mu, tau)).sum()
    above = (density * scipy.stats.norm.sf(margin, mu, tau)).sum()
    return float(below), float(above), float((density * mu).sum())


def test_the_posterior_agrees_with_a_plain_grid() -> None:
    means, errors = np.array([1.2, 0.4, 2.5, 0.9, 1.4, 0.2]), np.array([0.5, 0.6, 0.9, 0.4, 0.5, 0.8])
    found, (below, above, centre) = next_set(means, errors, 0.5), by_plain_grid(means, errors, 0.5)
    assert (found.below, found.above, found.mean) == pytest.approx((below, above, centre), abs=2e-3)
    assert found.below + found.within + found.above == pytest.approx(1)


def test_the_eight_schools() -> None:
    """Gelman et al. (2013), §5.5: their simulations of the same model give a posterior mean of μ of about 8."""
    means, errors = np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    assert next_set(means, errors, 1.0).mean == pytest.approx(8, abs=0.5)


def test_the_posterior_turns_with_the_sign_and_scales_with_the_unit() -> None:
    means, errors = np.array([1.2, 0.4, 2.5, -0.9]), np.array([0.5, 0.6, 0.9, 0.4])
    found, turned, scaled = next_set(means, errors, 0.3), next_set(-means, errors, 0.3), next_set(100 * means, 100 * errors, 30)
    assert (turned.below, turned.above) == pytest.approx((found.above, found.below))
    assert (scaled.below, scaled.within, scaled.above) == pytest.approx((found.below, found.within, found.above))
    assert next_set(np.full(4, 0.01), np.full(4, 0.02), 5.0).within > 0.99


def test_too_few_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 3 data sets"):
        next_set(np.zeros(2), np.ones(2), 0.1)
    with pytest.raises(ValueError, match="an error above 0"):
        next_set(np.zeros(3), np.array([1.0, 0.0, 1.0]), 0.1)
