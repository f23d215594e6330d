"""The sign-flip test and its interval against enumerations in integers, by scipy, and by the definition."""

import itertools
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from seglab.compare.numbers import exact, statistics

ALPHAS = (0.05, 0.01, 0.1, 0.05 / 3, 1 / 32, 0.5)
"""1/32 and 0.5 are reached exactly: p <= α must hold with equality."""


def brute_force(hundredths: list[int]) -> float:
    """Two-sided sign-flip p in integers, where ties are exact."""
    observed = abs(sum(hundredths))
    sums = [abs(int(np.dot(signs, hundredths))) for signs in itertools.product((1, -1), repeat=len(hundredths))]
    return sum(value >= observed for value in sums) / len(sums)


def counted(integers: list[int]) -> float:
    """The same p from the distribution of the sum, pair by pair: exact for any number of pairs."""
    sums = Counter({0: 1})
    for value in integers:
        sums = Counter({total: sums[total - value] + sums[total + value] for total in {s + f * value for s in sums for f in (1, -1)}})
    return sum(count for total, count in sums.items() if abs(total) >= abs(sum(integers))) / 2.0 ** len(integers)


@given(st.lists(st.integers(-300, 300), min_size=1, max_size=9))
def test_sign_flips_are_exact_and_count_ties(hundredths: list[int]) -> None:
    scores, base = np.array([0.6 + d / 10_000 for d in hundredths]), np.full(len(hundredths), 0.6)
    assert exact.sign_flip_p(statistics.paired_differences(scores, base)) == brute_force(hundredths) == counted(hundredths)


@pytest.mark.parametrize("n", [14, 17, 20])
def test_up_to_twenty_pairs_are_exact(n: int) -> None:
    integers = [int(value) for value in np.random.default_rng(n).integers(-40, 60, n)]
    assert exact.sign_flip_p(np.array(integers) / 1000) == counted(integers)


def test_scipy_finds_the_same_p() -> None:
    differences = np.random.default_rng(0).normal(0.4, 1, size=(20, 11))
    test = scipy.stats.permutation_test(
        (differences,), lambda x, axis: x.sum(axis=axis), permutation_type="samples", vectorized=True, n_resamples=np.inf, axis=-1
    )
    assert np.array_equal(exact.sign_flip_p(differences), test.pvalue)


@pytest.mark.parametrize("n", [21, 30])
def test_more_pairs_are_drawn_reproducibly_around_the_exact_p(n: int) -> None:
    integers = np.random.default_rng(n).integers(-40, 70, n)
    p, true = exact.sign_flip_p(integers / 1000), counted([int(value) for value in integers])
    assert p == exact.sign_flip_p(integers / 1000) != exact.sign_flip_p(integers / 1000, np.random.default_rng(7))
    assert abs(p - true) <= 4 * np.sqrt(true * (1 - true) / exact.DRAWN_FLIPS)
    assert exact.sign_flip_p(np.full(n, 0.01)) < 3 / (exact.DRAWN_FLIPS + 1)  # of 65,535 flips, hardly any leaves all signs equal


@pytest.mark.parametrize("n", [6, 21])
def test_problems_solved_together_and_alone_are_equal(n: int) -> None:
    problems = np.random.default_rng(0).normal(size=(12, n))
    p, (low, high) = exact.sign_flip_p(problems), exact.sign_flip_interval(problems)
    for place in (0, 5, 11):
        assert exact.sign_flip_p(problems[place]) == p[place]
        assert exact.sign_flip_interval(problems[place]) == (low[place], high[place])
    assert np.array_equal(exact.sign_flip_p(problems.reshape(3, 4, n)), p.reshape(3, 4))


def test_problems_of_unequal_sizes() -> None:
    problems = [np.array([0.01] * n) for n in (6, 8, 6, 1, 0)]
    assert exact.sign_flip_each(problems) == pytest.approx([2 / 64, 2 / 256, 2 / 64, 1, np.nan], nan_ok=True)


@pytest.mark.parametrize("n", [8, 14, 21])
def test_a_difference_that_is_not_finite_leaves_its_problem_undefined(n: int) -> None:
    differences = np.random.default_rng(0).normal(size=(3, n))
    differences[0, 2], differences[2, 5] = np.nan, np.inf
    for found in (exact.sign_flip_p(differences), *exact.sign_flip_interval(differences)):
        assert np.isnan(found).tolist() == [True, False, True]
    assert exact.sign_flip_p(np.empty((0, n))).shape == (0,)


def problems(n: int, generator: np.random.Generator) -> np.ndarray:
    """(k, n) problems of many kinds: smooth, tied, rounded, with zeros, tiny and huge."""
    smooth = generator.normal(generator.uniform(0, 2, (60, 1)), 1, (60, n)) * 10.0 ** generator.integers(-6, 4, (60, 1))
    tied = generator.integers(-3, 6, (60, n)) / 100
    rounded = np.round(generator.normal(0.01, 0.01, (60, n)), 3)
    scores = generator.integers(0, 60, (60, n)) / 100  # differences of rounded scores: ties that binary numbers hide
    hidden = statistics.paired_differences(scores + 0.03, scores[:, ::-1])
    return np.concatenate([smooth, tied, rounded, hidden, -tied])


@pytest.mark.parametrize("n", [1, 2, 4, 5, 6, 7, 8, 9, 10, 12])
def test_the_interval_excludes_zero_exactly_if_the_p_reaches_alpha(n: int) -> None:
    drawn = problems(n, np.random.default_rng(n))
    for alpha in ALPHAS:
        low, high = exact.sign_flip_interval(drawn, 1 - alpha)
        assert np.array_equal((low > 0) | (high < 0), exact.sign_flip_p(drawn) <= alpha)


@pytest.mark.parametrize("n", [20, 22])
def test_the_interval_agrees_with_the_p_of_many_pairs_too(n: int) -> None:
    generator = np.random.default_rng(n)
    drawn = np.concatenate([generator.normal(0.45, 1, (6, n)), generator.integers(-2, 4, (6, n)) / 10])
    low, high = exact.sign_flip_interval(drawn)
    assert np.array_equal((low > 0) | (high < 0), exact.sign_flip_p(drawn) <= 0.05)


@pytest.mark.parametrize("n", [6, 9, 23])
def test_just_outside_of_the_interval_is_rejected_and_just_inside_is_not(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    low, high = exact.sign_flip_interval(differences, 0.9)
    for end, inwards in ((low, 1e-6), (high, -1e-6)):
        assert exact.sign_flip_p(differences - (end - inwards)) <= 0.1
        assert exact.sign_flip_p(differences - (end + inwards)) > 0.1


def test_the_interval_by_hand() -> None:
    differences = np.array([0.03, 0.01, 0.04, 0.02, 0.06, 0.05])
    assert exact.sign_flip_interval(differences) == pytest.approx((0.01, 0.06))  # n = 6: c = floor(0.05 · 32) = 1
    # n = 7: c = floor(0.05 · 64) = 3, and the smallest means of subsets are 0.01, (0.01 + 0.02)/2, then 0.02
    assert exact.sign_flip_interval(np.array([0.03, 0.01, 0.04, 0.02, 0.06, 0.05, 0.07])) == pytest.approx((0.02, 0.06))
    assert [float(end) for end in exact.sign_flip_interval(np.full(6, 0.01))] == [0.01, 0.01]
    assert [float(end) for end in exact.sign_flip_interval(np.zeros(6))] == [0, 0]


def test_too_few_pairs_leave_the_interval_unbounded() -> None:
    assert [float(end) for end in exact.sign_flip_interval(np.full(5, 0.01))] == [-np.inf, np.inf]
    assert [float(end) for end in exact.sign_flip_interval(np.full(5, 0.01), 0.9)] == [0.01, 0.01]
    assert np.isnan(exact.sign_flip_interval(np.array([]))).all()


@given(st.lists(st.integers(-50, 50), min_size=6, max_size=9), st.integers(-40, 40), st.integers(1, 9))
def test_the_interval_moves_and_stretches_with_the_differences(hundredths: list[int], shift: int, factor: int) -> None:
    differences = np.array(hundredths) / 100
    low, high = exact.sign_flip_interval(differences)
    assert exact.sign_flip_interval(differences * factor + shift / 100) == pytest.approx(
        (low * factor + shift / 100, high * factor + shift / 100)
    )
    assert exact.sign_flip_interval(-differences) == pytest.approx((-high, -low))


@pytest.mark.parametrize(("n", "draw"), [(6, "normal"), (8, "normal"), (8, "standard_cauchy")])
def test_the_coverage_is_what_the_count_of_subsets_says(n: int, draw: str) -> None:
    """Count how often the interval holds 0: its probability is 1 - 2c/2^n for symmetric differences.

    Here c of the 2^n - 1 subset means lie beyond each end.
    """
    low, high = exact.sign_flip_interval(getattr(np.random.default_rng(4), draw)(size=(6000, n)))
    expected = 1 - 2 * int(0.05 * 2 ** (n - 1)) / 2**n
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(expected, abs=4 * np.sqrt(0.05 * 0.95 / 6000))


def test_twenty_pairs_take_little_memory() -> None:
    differences = np.random.default_rng(0).normal(size=(3, 20))
    tracemalloc.start()
    try:
        exact.sign_flip_p(differences)
        exact.sign_flip_interval(differences)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()
