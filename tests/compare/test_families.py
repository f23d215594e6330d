"""Adjusted p values against their definitions: closed testing and enumeration of jointly true hypotheses."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from seglab.compare.numbers import families
from tests.compare.shaffer import shaffer

P = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def closed(p: Sequence[float]) -> list[float]:
    """Return Holm's p by closed testing: a hypothesis is rejected if every intersection that contains it is.

    Bonferroni's test judges each intersection.
    """
    k = range(len(p))
    sets = [chosen for size in range(1, len(p) + 1) for chosen in itertools.combinations(k, size)]
    return [max(min(1.0, len(chosen) * min(p[i] for i in chosen)) for chosen in sets if place in chosen) for place in k]


def shaffer_by_enumeration(p_difference: Sequence[float], p_equivalence: Sequence[float]) -> list[float]:
    """Return the adjusted p of Shaffer's procedure, computed from its definition.

    Each p is multiplied by the size of the largest set of hypotheses that can all be true and has none rejected.
    """
    k = len(p_difference)
    p = [*p_difference, *p_equivalence]
    possible = [
        chosen
        for flags in itertools.product((None, 0, 1), repeat=k)
        if (chosen := {i + k * f for i, f in enumerate(flags) if f is not None})
    ]
    adjusted, rejected, last = [0.0] * (2 * k), set[int](), 0.0
    for place in sorted(range(2 * k), key=p.__getitem__):
        largest = max((len(chosen) for chosen in possible if not chosen & rejected), default=0)
        adjusted[place] = last = max(last, min(1.0, largest * p[place]))
        rejected.add(place)
    return adjusted


def test_holm_and_benjamini_hochberg_by_hand() -> None:
    p = np.array([0.04, 0.01, 0.03, 0.005])
    assert families.holm(p) == pytest.approx([0.06, 0.03, 0.06, 0.02])  # 4·.005, 3·.01, 2·.03, then .04 raised to .06
    assert families.benjamini_hochberg(p) == pytest.approx([0.04, 0.02, 0.04, 0.02])  # 4/4·.04, 4/2·.01, 4/3·.03, 4·.005
    assert families.holm(np.array([0.5, 0.9])) == pytest.approx([1.0, 1.0])


@given(P)
def test_holm_is_closed_testing(p: list[float]) -> None:
    assert families.holm(np.array(p)) == pytest.approx(closed(p))


@given(P, st.integers(0, 4))
def test_a_declared_test_without_results_counts_like_p_one(p: list[float], missing: int) -> None:
    padded = families.holm(np.array(p + [1.0] * missing))[: len(p)]
    assert families.holm(np.array(p), len(p) + missing) == pytest.approx(padded)
    assert families.holm(np.array(p + [np.nan] * missing))[: len(p)] == pytest.approx(padded)


def test_the_family_does_not_shrink_with_what_is_missing() -> None:
    assert families.holm(np.array([2 / 64]), 3) == pytest.approx([0.09375])  # six seeds, four arms declared, two without results
    with pytest.raises(ValueError, match="3 tests have a p, but only 2 were declared"):
        families.holm(np.zeros(3), 2)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_benjamini_hochberg_agrees_with_scipy(p: list[float]) -> None:
    assert np.allclose(families.benjamini_hochberg(np.array(p)), scipy.stats.false_discovery_control(p))


def test_an_undefined_p_stays_undefined() -> None:
    p = np.array([np.nan, 0.01, 0.04])
    assert families.holm(p) == pytest.approx([np.nan, 0.03, 0.08], nan_ok=True)  # it was declared, so it counts
    assert families.benjamini_hochberg(p) == pytest.approx([np.nan, 0.02, 0.04], nan_ok=True)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=4))
def test_shaffer_counts_what_can_be_true_together(pairs: list[tuple[float, float]]) -> None:
    different, same = [list(values) for values in zip(*pairs, strict=True)]
    adjusted = np.concatenate(shaffer(np.array(different), np.array(same)))
    assert adjusted == pytest.approx(shaffer_by_enumeration(different, same))


@given(P, st.integers(0, 3))
def test_shaffer_without_a_margin_is_holm(p: list[float], missing: int) -> None:
    different, same = shaffer(np.array(p), np.full(len(p), np.nan), len(p) + missing)
    assert different == pytest.approx(families.holm(np.array(p), len(p) + missing))
    assert np.isnan(same).all()


def test_shaffer_by_hand() -> None:
    different, same = shaffer(np.array([0.01, 0.6]), np.array([0.9, 0.02]))
    # .01 · 2; .02 · 2: either contrast can still have a true hypothesis; .6 · 2; the second contrast has none left:
    # .9 · 1, raised to 1
    assert different == pytest.approx([0.02, 1.0])
    assert same == pytest.approx([1.0, 0.04])


def test_shaffer_with_missing_contrasts() -> None:
    different, same = np.array([0.01, np.nan]), np.array([0.5, np.nan])
    padded = shaffer(np.array([0.01, 1.0]), np.array([0.5, 1.0]))
    found = shaffer(different, same)
    declared = shaffer(different[:1], same[:1], 2)
    assert found[0][0] == declared[0][0] == padded[0][0] == 0.02
    assert found[1][0] == declared[1][0] == padded[1][0] == 1.0
    assert np.isnan([found[0][1], found[1][1]]).all()
