import itertools
import math
from random import Random

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from seglab.compare.numbers import exact, statistics

SCORES = st.lists(st.integers(0, 10_000).map(lambda score: score / 10_000), min_size=2, max_size=8)
PAIRS = SCORES.flatmap(
    lambda first: st.tuples(
        st.just(first), st.lists(st.integers(0, 10_000).map(lambda s: s / 10_000), min_size=len(first), max_size=len(first))
    )
)


def test_six_equal_signs_by_hand() -> None:
    differences = np.array([0.01, 0.02, 0.03, 0.01, 0.02, 0.03])  # mean 0.02, sum of squares 0.0004 around it
    assert exact.sign_flip_p(differences) == 2 / 64
    assert statistics.mean(differences) == pytest.approx(0.02)
    sd = math.sqrt(0.0004 / 5)
    assert statistics.effect_size(differences) == pytest.approx(0.02 / sd)
    low, high = statistics.t_interval(differences)
    half = 2.570581835636314 * sd / math.sqrt(6)  # t table, 5 degrees of freedom
    assert (float(low), float(high)) == pytest.approx((0.02 - half, 0.02 + half))
    assert statistics.probability_of_superiority(np.array([1.0, 0.0, -1.0, 2.0])) == 2.5 / 4


@given(PAIRS)
def test_interval_agrees_with_scipys_paired_t(pair: tuple[list[float], list[float]]) -> None:
    ours, theirs = np.array(pair[0]), np.array(pair[1])
    differences = statistics.paired_differences(ours, theirs)
    if np.ptp(differences) < 1e-9:
        return
    interval = scipy.stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    low, high = statistics.t_interval(differences)
    assert (float(low), float(high)) == pytest.approx((interval.low, interval.high), abs=1e-9)


@given(PAIRS, st.floats(0.001, 0.2))
def test_equivalence_agrees_with_two_one_sided_t_tests(pair: tuple[list[float], list[float]], margin: float) -> None:
    differences = statistics.paired_differences(np.array(pair[0]), np.array(pair[1]))
    if np.ptp(differences) < 1e-9:
        return
    above = scipy.stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = scipy.stats.ttest_1samp(differences, margin, alternative="less").pvalue
    assert statistics.equivalence_p(differences, margin) == pytest.approx(max(above, below), abs=1e-9)


@given(PAIRS)
def test_swapping_flips_the_sign_and_keeps_p(pair: tuple[list[float], list[float]]) -> None:
    ours, theirs = np.array(pair[0]), np.array(pair[1])
    there, back = statistics.paired_differences(ours, theirs), statistics.paired_differences(theirs, ours)
    assert np.array_equal(there, -back)
    assert exact.sign_flip_p(there) == exact.sign_flip_p(back)
    assert statistics.equivalence_p(there, 0.005) == statistics.equivalence_p(back, 0.005)
    assert statistics.probability_of_superiority(there) == pytest.approx(1 - statistics.probability_of_superiority(back))
    assert statistics.t_interval(there)[0] == pytest.approx(-statistics.t_interval(back)[1], abs=1e-15)


@given(PAIRS, st.randoms(), st.integers(0, 1000))
def test_order_and_a_common_constant_change_nothing(pair: tuple[list[float], list[float]], random: Random, shift: int) -> None:
    order = list(range(len(pair[0])))
    random.shuffle(order)
    ours, theirs = np.array(pair[0]), np.array(pair[1])
    before = statistics.paired_differences(ours, theirs)
    after = statistics.paired_differences(ours[order] + shift / 1000, theirs[order] + shift / 1000)
    assert np.allclose(before[order], after, atol=1e-11)
    assert exact.sign_flip_p(before) == exact.sign_flip_p(after)
    assert np.allclose(statistics.t_interval(before), statistics.t_interval(after), atol=1e-10)


def test_degenerate_differences() -> None:
    zeros, equal, one, none = np.zeros(6), np.full(6, 0.01), np.array([0.01]), np.array([])
    assert exact.sign_flip_p(zeros) == 1
    assert [float(end) for end in statistics.t_interval(zeros)] == [0, 0]
    assert np.isnan(statistics.effect_size(zeros))
    assert statistics.equivalence_p(zeros, 0.005) == 0
    assert exact.sign_flip_p(equal) == 2 / 64
    assert [float(end) for end in statistics.t_interval(equal)] == [0.01, 0.01]
    assert np.isnan(statistics.effect_size(equal))
    assert statistics.equivalence_p(equal, 0.005) == 1
    assert statistics.equivalence_p(equal, 0.02) == 0
    assert exact.sign_flip_p(one) == 1
    assert np.isnan(statistics.t_interval(one)).all()
    assert np.isnan(
        [exact.sign_flip_p(none), statistics.mean(none), statistics.effect_size(none), statistics.probability_of_superiority(none)]
    ).all()
    assert math.isnan(statistics.correlation(zeros, zeros))
    assert statistics.correlation(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])) == pytest.approx(1)


def test_differences_that_are_equal_on_paper_are_equal() -> None:
    assert 0.3 - 0.2 != 0.2 - 0.1
    assert len(set(statistics.paired_differences(np.array([0.2, 0.3, 0.4]), np.array([0.1, 0.2, 0.3])))) == 1


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8))
def test_the_expected_best_is_the_mean_over_all_choices(thousandths: list[int]) -> None:
    scores = [value / 1000 for value in thousandths]
    expected = [np.mean([max(choice) for choice in itertools.combinations(scores, k)]) for k in range(1, len(scores) + 1)]
    assert statistics.expected_best(np.array(scores)) == pytest.approx(expected)


def test_the_expected_best_where_some_are_of_no_use() -> None:
    scores = np.array([[0.3, -np.inf, 0.5], [0.1, 0.2, 0.2], [-np.inf, -np.inf, 0.5]])
    one, none, two = statistics.expected_best(scores)
    assert one == pytest.approx([-np.inf, (0.3 + 0.5 + 0.5) / 3, 0.5])  # of two settings, one at least is of use
    assert none == pytest.approx([0.5 / 3, 0.2, 0.2])
    assert two == pytest.approx([-np.inf, -np.inf, 0.5])


def test_pairs_needed() -> None:
    assert [statistics.pairs_needed(0.05, contrasts) for contrasts in (1, 2, 9)] == [6, 7, 9]
