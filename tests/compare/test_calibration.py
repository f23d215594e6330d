"""The comparison is tested itself: error rates over 2,000 simulated studies."""

import numpy as np
import pytest

from seglab.compare.numbers import exact, families, statistics

STUDIES = 2000


def differences(pairs: int, effect: float, seed: int, contrasts: int = 1) -> np.ndarray:
    """Return (studies, contrasts, pairs) differences between arms and one shared baseline.

    Each has standard deviation 1 and mean `effect`.
    """
    generator = np.random.default_rng(seed)
    arms = generator.normal(effect * np.sqrt(2), 1, size=(STUDIES, contrasts, pairs))
    found: np.ndarray = (arms - generator.normal(size=(STUDIES, 1, pairs))) / np.sqrt(2)
    return found


@pytest.mark.parametrize("pairs", [6, 8, 10])
def test_equal_arms_are_rarely_called_different(pairs: int) -> None:
    assert np.mean(exact.sign_flip_p(differences(pairs, 0.0, seed=1)) <= 0.05) <= 0.06


def test_power_at_one_standard_deviation_and_ten_pairs() -> None:
    assert np.mean(exact.sign_flip_p(differences(10, 1.0, seed=2)) <= 0.05) >= 0.75


def test_holm_holds_the_family_wise_rate() -> None:
    p = exact.sign_flip_p(differences(10, 0.0, seed=3, contrasts=4))
    assert np.mean((families.holm(p) <= 0.05).any(axis=-1)) <= 0.06
    assert np.mean((p <= 0.05).any(axis=-1)) > 0.08  # without Holm it would not hold


@pytest.mark.parametrize("pairs", [6, 10])
def test_the_interval_covers(pairs: int) -> None:
    low, high = statistics.t_interval(differences(pairs, 0.5, seed=4))
    assert 0.93 <= np.mean((low <= 0.5) & (high >= 0.5)) <= 0.97


def test_arms_a_margin_apart_are_rarely_called_equivalent() -> None:
    p = statistics.equivalence_p(differences(10, 1.0, seed=5), margin=1.0)
    assert np.mean(p <= 0.05) <= 0.06
    assert np.mean(statistics.equivalence_p(differences(10, 0.0, seed=6), margin=1.2) <= 0.05) >= 0.75
