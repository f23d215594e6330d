"""Detectable differences against simulated power, and against the constants of an independent audit."""

import math

import numpy as np
import pytest
import scipy.stats

from seglab.compare.numbers import detectable, exact, statistics
from seglab.compare.numbers.detectable import seeds_needed, upper_sd


@pytest.mark.parametrize(
    ("m", "constants"),
    [
        (1, {6: 1.78, 7: 1.33, 8: 1.19, 9: 1.10, 10: 1.00, 12: 0.89}),
        (3, {6: math.inf, 7: 1.87, 8: 1.54, 9: 1.39, 10: 1.26, 12: 1.09}),
        (7, {8: math.inf, 9: 1.96, 10: 1.53, 12: 1.26}),
    ],
)
def test_the_constants_of_the_audit(m: int, constants: dict[int, float]) -> None:
    """They were simulated, with an error of 0.01."""
    for n, expected in constants.items():
        assert detectable.detectable(1.0, n, m, 0.05) == pytest.approx(expected, abs=0.016)


@pytest.mark.parametrize(("n", "m", "power"), [(6, 1, 0.8), (8, 3, 0.8), (10, 1, 0.9), (12, 7, 0.8), (15, 2, 0.6), (17, 3, 0.8)])
def test_the_power_at_the_detectable_difference(n: int, m: int, power: float) -> None:
    difference = detectable.detectable(2.0, n, m, 0.05, power)
    drawn = np.random.default_rng(n).normal(difference, 2.0, size=(6000 if n < 15 else 1000, n))
    shown = (exact.sign_flip_p(drawn) <= 0.05 / m) & (drawn.mean(axis=-1) > 0)
    assert np.mean(shown) == pytest.approx(power, abs=0.005 + 3 * math.sqrt(power * (1 - power) / len(drawn)))


def test_above_sixteen_pairs_it_is_students_power() -> None:
    difference, n, m = detectable.detectable(1.0, 25, 3, 0.05), 25, 3
    power = scipy.stats.nct.sf(scipy.stats.t.isf(0.05 / 6, n - 1), n - 1, math.sqrt(n) * difference)
    assert power == pytest.approx(0.8, abs=1e-3)
    below, above = (detectable.detectable(1.0, n, m, 0.05) * math.sqrt(n) for n in (16, 17))
    assert below == pytest.approx(above, rel=0.03)  # no step where the drawn critical values end


def test_the_numbers_of_seeds_are_the_smallest() -> None:
    difference, equivalence = seeds_needed(0.8, 0.5, 2, 0.05)
    assert detectable.detectable(0.8, difference, 2, 0.05) <= 0.5 < detectable.detectable(0.8, difference - 1, 2, 0.05)
    drawn = np.random.default_rng(0).normal(0, 0.8, size=(20_000, equivalence))
    assert np.mean(statistics.equivalence_p(drawn, 0.5) <= 0.05 / 2) == pytest.approx(0.8, abs=0.02)
    assert seeds_needed(0.0, 0.5, 1, 0.05) == (6, 6)
    assert seeds_needed(1.0, 10.0, 9, 0.05).difference == 9
    many = seeds_needed(1.0, 0.01, 1, 0.05)
    assert many.difference == pytest.approx(((1.95996 + 0.84162) / 0.01) ** 2, rel=1e-3)
    assert many.equivalence == pytest.approx(((1.64485 + 1.28155) / 0.01) ** 2, rel=1e-3)


def test_the_upper_limit_is_too_small_in_a_fifth_of_the_pilots() -> None:
    sd = statistics.standard_deviation(np.random.default_rng(0).normal(size=(20_000, 5)))
    assert np.mean(sd * upper_sd(1.0, 5) < 1) == pytest.approx(0.2, abs=0.01)
    assert math.isnan(upper_sd(math.nan, 1))


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="standard deviation -1"):
        detectable.detectable(-1.0, 8, 1, 0.05)
    with pytest.raises(ValueError, match="0 contrasts"):
        detectable.detectable(1.0, 8, 0, 0.05)
    with pytest.raises(ValueError, match="alpha is 5"):
        detectable.detectable(1.0, 8, 1, 5)
    with pytest.raises(ValueError, match="margin 0"):
        seeds_needed(1.0, 0.0, 1, 0.05)
    assert math.isnan(detectable.detectable(math.nan, 8, 1, 0.05))


def test_a_tiny_margin_needs_many_seeds() -> None:
    """The numbers of seeds follow from the normal distribution, which Student's distribution reaches here.

    A margin of 1e-5 of mIoU is a thousandth of a usual deviation.
    """
    difference, equivalence = seeds_needed(1.0, 1e-3, 3, 0.05)
    assert difference == pytest.approx((scipy.stats.norm.isf(0.05 / 6) + scipy.stats.norm.isf(0.2)) ** 2 * 1e6, rel=1e-5)
    assert equivalence == pytest.approx((scipy.stats.norm.isf(0.05 / 3) + scipy.stats.norm.isf(0.1)) ** 2 * 1e6, rel=1e-5)
