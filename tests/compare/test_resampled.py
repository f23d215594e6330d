"""The corrected t test: against Student's where nothing overlaps, and by hand."""

import math

import numpy as np
import pytest
import scipy.stats

from seglab.compare.numbers import resampled, statistics

DIFFERENCES = np.random.default_rng(1).normal(0.4, 1, size=(3, 10))


def test_without_overlap_it_is_students_test() -> None:
    test = scipy.stats.ttest_1samp(DIFFERENCES, 0, axis=-1)
    assert resampled.resampled_p(DIFFERENCES, 0.0) == pytest.approx(test.pvalue)
    assert np.allclose(resampled.resampled_interval(DIFFERENCES, 0.0), statistics.t_interval(DIFFERENCES))
    assert resampled.resampled_equivalence_p(DIFFERENCES, 0.0, 1.2) == pytest.approx(statistics.equivalence_p(DIFFERENCES, 1.2))


def test_the_correction_by_hand() -> None:
    differences = np.array([1.0, 2.0, 3.0, 2.0, 2.0])  # mean 2, s² = 2/4
    error = math.sqrt(0.5 * (1 / 5 + 1 / 4))
    assert resampled.resampled_error(differences, 0.25) == pytest.approx(error)
    assert resampled.resampled_p(differences, 0.25) == pytest.approx(2 * scipy.stats.t.sf(2 / error, 4))
    low, high = resampled.resampled_interval(differences, 0.25)
    assert (float(low), float(high)) == pytest.approx((2 - 2.776445105 * error, 2 + 2.776445105 * error))  # t table, 4 degrees of freedom
    assert resampled.resampled_equivalence_p(differences, 0.25, 3.0) == pytest.approx(scipy.stats.t.sf(1 / error, 4))


def test_the_interval_excludes_zero_exactly_if_the_p_reaches_alpha() -> None:
    drawn = np.random.default_rng(0).normal(0.8, 1, size=(500, 8))
    low, high = resampled.resampled_interval(drawn, 0.2)
    assert np.array_equal((low > 0) | (high < 0), resampled.resampled_p(drawn, 0.2) <= 0.05)


def test_degenerate_differences() -> None:
    assert resampled.resampled_p(np.full(5, 0.1), 0.2) == 0
    assert resampled.resampled_p(np.zeros(5), 0.2) == 1
    assert resampled.resampled_equivalence_p(np.full(5, 0.1), 0.2, 0.1) == 1
    assert resampled.resampled_equivalence_p(np.full(5, 0.1), 0.2, 0.2) == 0
    assert np.isnan([resampled.resampled_p(np.zeros(n), 0.2) for n in (0, 1)]).all()
    assert np.isnan(resampled.resampled_interval(np.zeros(1), 0.2)).all()
