"""Wilson's interval, McNemar's test and the skewness against scipy."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from seglab.compare.numbers import divergence, improvement, statistics


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95]))
def test_wilsons_interval_agrees_with_scipy(counts: tuple[int, int], level: float) -> None:
    k, n = counts
    expected = scipy.stats.binomtest(k, n).proportion_ci(level, method="wilson")
    assert improvement.wilson_interval(k / n, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_without_pairs_there_is_no_interval() -> None:
    assert math.isnan(improvement.wilson_interval(math.nan, 0)[0])


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemars_test_is_a_test_of_a_fair_coin(only_arm: int, only_baseline: int) -> None:
    expected = scipy.stats.binomtest(only_arm, only_arm + only_baseline).pvalue if only_arm + only_baseline else 1.0
    assert divergence.mcnemar_p(only_arm, only_baseline) == pytest.approx(expected)


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=12))
def test_the_skewness_agrees_with_scipy(hundredths: list[int]) -> None:
    differences = np.array(hundredths) / 100
    if np.ptp(differences) == 0:
        assert np.isnan(statistics.skewness(differences))
    else:
        assert statistics.skewness(differences) == pytest.approx(scipy.stats.skew(differences), abs=1e-9)


def test_the_skewness_of_many_problems_and_of_few_pairs() -> None:
    drawn = np.random.default_rng(0).exponential(size=(3, 4, 9))
    assert statistics.skewness(drawn) == pytest.approx(scipy.stats.skew(drawn, axis=-1))
    assert np.isnan(statistics.skewness(drawn[..., :2])).all()
