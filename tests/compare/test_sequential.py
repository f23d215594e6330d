"""Planned looks and the always-valid p, against published boundaries and by enumeration of all signs."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from seglab.compare.numbers import sequential


def test_the_boundary_of_lan_and_demets() -> None:
    """Tables of group sequential designs have z = 2.963 after half of the observations.

    The test is one-sided at 0.025, with spending of the O'Brien-Fleming type.
    """
    first, last = sequential.spending((10, 20), 20, 0.025)
    assert scipy.stats.norm.isf(first) == pytest.approx(2.963, abs=5e-4)
    assert first + last == pytest.approx(0.025)
    assert sequential.spending((12,), 12, 0.05) == (0.05,)  # exactly: a p of alpha is not above it


@given(st.sets(st.integers(1, 40), min_size=1, max_size=6), st.floats(0.001, 0.3))
def test_the_looks_spend_alpha_and_the_later_more(looks: set[int], alpha: float) -> None:
    ordered = sorted(looks)
    spent = sequential.spending(ordered, ordered[-1], alpha)
    assert sum(spent) == pytest.approx(alpha)
    assert min(spent) >= 0


@pytest.mark.parametrize("alpha", [2.0**-power for power in range(2, 10)])
def test_a_single_look_has_all_of_alpha_exactly(alpha: float) -> None:
    """The p of few pairs is a power of 2, and a verdict needs p <= alpha."""
    assert sequential.spending((5,), 5, alpha) == (alpha,)


@pytest.mark.parametrize("looks", [(), (8, 8, 12), (12, 8), (8, 10), (0, 12), (8, 14)])
def test_looks_that_are_no_plan_are_refused(looks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the last of which is 12"):
        sequential.spending(looks, 12, 0.05)


@given(st.lists(st.integers(-300, 300).map(lambda d: d / 100), min_size=1, max_size=8))
def test_the_always_valid_p_by_its_formula(differences: list[float]) -> None:
    sigma0, largest, expected = 0.7, 1.0, []
    for n in range(1, len(differences) + 1):
        wealth = [
            math.prod(2 / (1 + math.exp(-sign * 2 * rate / sigma0 * d)) for d in differences[:n])
            for rate in (0.25, 0.5, 1, 2)
            for sign in (1, -1)
        ]
        largest = max(largest, sum(wealth) / 8)
        expected.append(1 / largest)
    assert sequential.always_valid_p(np.array(differences), sigma0) == pytest.approx(expected)


@pytest.mark.parametrize("sigma0", [0.2, 1.0, 5.0])
def test_ever_below_alpha_is_rare_over_all_signs(sigma0: float) -> None:
    """Ville's inequality, exactly: at most a share α of the 2^13 sign flips ever has p <= α at any of 13 looks.

    The sizes of the differences are fixed.
    """
    sizes = np.abs(np.random.default_rng(3).normal(size=13))
    flips = np.array(list(itertools.product((1.0, -1.0), repeat=13)))
    p = sequential.always_valid_p(flips * sizes, sigma0)
    assert np.all(np.diff(p, axis=-1) <= 0)
    for alpha in (0.2, 0.05, 0.01):
        assert np.mean(p[:, -1] <= alpha) <= alpha
    assert np.any(p[:, -1] <= 0.2)  # it can reach


def test_a_deviation_that_is_no_scale_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sigma0 is 0\.0"):
        sequential.always_valid_p(np.zeros(3), 0.0)
