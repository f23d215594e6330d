"""Every proximal operator against numerical minimisation of ½Σ(w−v)²/t + λR(w).

It is tested with one step size for all elements, and with one per element.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize, minimize_scalar
from torch import Tensor

from seglab.regularizers import L1, L2, ElasticNet, GroupLasso, Regularizer, SmoothL1
from seglab.regularizers.group_lasso import filters as filters_of
from seglab.regularizers.group_lasso import shrink

Array = NDArray[np.float64]

ELEMENTWISE = [L1(0.3), L2(0.7), ElasticNet(0.2, 0.5), SmoothL1(0.4, beta=0.25), SmoothL1(30.0, beta=1e-3)]

magnitudes = st.floats(-6, 3).map(lambda exponent: 10.0**exponent)
numbers = st.tuples(st.sampled_from([-1.0, 1.0]), magnitudes).map(math.prod) | st.sampled_from([0.0, -0.0, 5e-324, 1e-310])


def value_of(regularizer: Regularizer, w: float) -> float:
    """λR of one number, from the definitions."""
    match regularizer:
        case L1(strength):
            return strength * abs(w)
        case L2(strength):
            return 0.5 * strength * w * w
        case ElasticNet(l1, l2):
            return l1 * abs(w) + 0.5 * l2 * w * w
        case SmoothL1(strength, None, float(beta)):
            return strength * (w * w / (2 * beta) if abs(w) < beta else abs(w) - beta / 2)
    raise NotImplementedError(repr(regularizer))


def prox(regularizer: Regularizer, v: list[float], step: list[float] | float) -> Array:
    weight = torch.tensor([v], dtype=torch.float64)
    regularizer.prox([weight], [step] if isinstance(step, float) else [torch.tensor([step], dtype=torch.float64)])
    found: Array = weight.numpy()[0]
    return found


@pytest.mark.parametrize("regularizer", ELEMENTWISE, ids=repr)
@given(drawn=st.lists(st.tuples(numbers, magnitudes), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_an_element_wise_prox_minimises_for_each_element(regularizer: Regularizer, drawn: list[tuple[float, float]]) -> None:
    v, step = [pair[0] for pair in drawn], [pair[1] for pair in drawn]
    for found, one, t in zip(prox(regularizer, v, step), v, step, strict=True):
        size = max(abs(one), 1e-9)
        best = minimize_scalar(
            lambda w, one=one, t=t, size=size: (0.5 * (w * size - one) ** 2 / t + value_of(regularizer, w * size)) / size,
            bounds=(-1.5, 1.5),
            options={"xatol": 1e-12},
        )
        assert found == pytest.approx(best.x * size, rel=1e-4, abs=2e-6 * size)
        assert found == prox(regularizer, [one], t)[0] or found == pytest.approx(prox(regularizer, [one], t)[0], rel=1e-12)


@pytest.mark.parametrize("regularizer", ELEMENTWISE, ids=repr)
@given(v=numbers, step=magnitudes)
@settings(max_examples=100, deadline=None)
def test_what_is_left_balances_the_slope_of_the_penalty(regularizer: Regularizer, v: float, step: float) -> None:
    """(v − w)/t is a sub-gradient of λR at w."""
    (w,) = prox(regularizer, [v], step)
    low, high = (
        {
            L1: lambda s: (regularizer.strength * s,) * 2,  # type: ignore[attr-defined]
            L2: lambda s: (regularizer.strength * w,) * 2,  # type: ignore[attr-defined]
            ElasticNet: lambda s: (regularizer.l1 * s + regularizer.l2 * w,) * 2,  # type: ignore[attr-defined]
            SmoothL1: lambda s: (regularizer.strength * float(np.clip(w / regularizer.beta, -1, 1)),) * 2,  # type: ignore[attr-defined]
        }[type(regularizer)](np.sign(w))
        if w != 0 or isinstance(regularizer, L2 | SmoothL1)
        else (-(l1 := getattr(regularizer, "l1", getattr(regularizer, "strength", 0.0))), l1)
    )
    slack = 1e-9 * (abs(v) / step + abs(low) + abs(high)) + 1e-300
    if isinstance(regularizer, SmoothL1) and regularizer.beta is not None:
        slack += regularizer.strength * 1e-15 * abs(v) / regularizer.beta  # the rounding of w, through the slope's slope λ/β
    assert low - slack <= (v - w) / step <= high + slack


def group_objective(w: Array, v: Array, step: Array | float, strength: float) -> float:
    return float((0.5 * (w - v) ** 2 / step).sum() + strength * math.sqrt(len(v)) * np.linalg.norm(w))


def group_solution(v: Array, step: Array, strength: float) -> Array:
    """w_i = v_i·s/(s+a_i) at the root s = ‖w‖, found by bisection."""
    a = step * strength * math.sqrt(len(v))
    if np.linalg.norm(v / a) <= 1:
        return np.zeros_like(v)

    def excess(s: float) -> float:
        return float(np.linalg.norm(v / (s + a))) - 1

    s: float = brentq(excess, 0.0, float(np.linalg.norm(v)), xtol=1e-300, rtol=1e-14, maxiter=2000)
    return v * s / (s + a)


filters = st.lists(st.tuples(numbers, magnitudes), min_size=1, max_size=8)


@given(drawn=filters, strength=st.floats(-3, 1).map(lambda e: 10.0**e))
@settings(max_examples=400, deadline=None)
def test_the_group_prox_with_a_step_per_element_is_the_root(drawn: list[tuple[float, float]], strength: float) -> None:
    v, step = np.array([pair[0] for pair in drawn]), np.array([pair[1] for pair in drawn])
    expected = group_solution(v, step, strength)
    found = prox(GroupLasso(strength), v.tolist(), step.tolist())
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7 * np.abs(v).max())
    assert group_objective(found, v, step, strength) <= group_objective(expected, v, step, strength) * (1 + 1e-9) + 1e-300


@given(drawn=st.lists(st.tuples(st.floats(-3, 3), st.floats(-2, 2).map(lambda e: 10.0**e)), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_no_search_finds_less_than_the_group_prox(drawn: list[tuple[float, float]]) -> None:
    """Brute force, which knows nothing of the root."""
    v, step = np.array([pair[0] for pair in drawn]), np.array([pair[1] for pair in drawn])
    ours = group_objective(prox(GroupLasso(0.5), v.tolist(), step.tolist()), v, step, 0.5)
    for start in (v, 0.5 * v, np.zeros_like(v), np.full_like(v, 0.1)):
        searched = minimize(group_objective, start, (v, step, 0.5), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
        assert ours <= searched.fun + 1e-9 * (1 + abs(searched.fun))


@given(drawn=filters, strength=st.floats(-3, 1).map(lambda e: 10.0**e))
@settings(max_examples=200, deadline=None)
def test_the_group_prox_meets_the_conditions_of_optimality(drawn: list[tuple[float, float]], strength: float) -> None:
    """(v − w)/t = λ√|g|·w/‖w‖; at zero, ‖v/t‖ ≤ λ√|g|."""
    v, step = np.array([pair[0] for pair in drawn]), np.array([pair[1] for pair in drawn])
    w, slope = prox(GroupLasso(strength), v.tolist(), step.tolist()), strength * math.sqrt(len(v))
    if w.any():
        residual = np.abs((v - w) - step * slope * w / np.linalg.norm(w))
        assert (residual <= 1e-6 * np.abs(v) + 1e-300).all()
    else:
        assert np.linalg.norm(v / step) <= slope * (1 + 1e-9)


@given(v=st.lists(numbers, min_size=1, max_size=6), step=magnitudes)
@settings(max_examples=100, deadline=None)
def test_with_one_step_the_group_prox_is_the_closed_form(v: list[float], step: float) -> None:
    array, slope = np.array(v), 0.5 * math.sqrt(len(v))
    norm = float(np.linalg.norm(array))
    expected = max(0.0, 1 - step * slope / norm) * array if norm > 0 else array
    rounding = 1e-14 * norm + 1e-300  # at the threshold 1 − τ/‖v‖ cancels
    np.testing.assert_allclose(prox(GroupLasso(0.5), v, step), expected, rtol=1e-9, atol=rounding)
    np.testing.assert_allclose(prox(GroupLasso(0.5), v, [step] * len(v)), expected, rtol=1e-7, atol=1e-9 * norm + 1e-300)


def test_the_closed_form_with_steps_per_element_is_not_the_minimum() -> None:
    v, step = np.array([1.0, 0.8, 0.1]), np.array([1.0, 0.1, 0.01])
    a = step * 0.5 * math.sqrt(3)
    naive = np.maximum(0, 1 - a / np.linalg.norm(v)) * v
    ours = prox(GroupLasso(0.5), v.tolist(), step.tolist())
    assert group_objective(ours, v, step, 0.5) < group_objective(naive, v, step, 0.5) - 1e-3


@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (5, 2), (6,), (1, 7)], ids=str)
@pytest.mark.parametrize("each", [False, True], ids=["one step", "a step each"])
def test_in_single_precision_filters_are_worked_on_one_by_one(shape: tuple[int, ...], each: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(shape, generator=generator) * 10.0 ** torch.randint(-2, 2, (shape[0], *[1] * (len(shape) - 1)), generator=generator)
    step = 10 ** torch.empty(shape).uniform_(-4, 0, generator=generator) if each else torch.full(shape, 0.1)
    weight = v.clone()
    GroupLasso(0.7).prox([weight], [step] if each else [0.1])
    for found, row, size in zip(weight, v, step, strict=True):
        expected = group_solution(row.double().flatten().numpy(), size.double().flatten().numpy(), 0.7)
        np.testing.assert_allclose(found.flatten().numpy(), expected, rtol=1e-4, atol=1e-6)


def test_weights_in_one_piece_shrink_as_each_alone() -> None:
    """Weights of one dtype and device together, as on a GPU."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 2, 3, 3), (5, 18), (1, 18, 1, 1)]
    alone, steps = (
        [torch.randn(shape, generator=generator) for shape in shapes],
        [torch.rand(shape, generator=generator) + 0.2 for shape in shapes],
    )
    together = [weight.clone() for weight in alone]
    GroupLasso(2.5).prox(alone, steps)
    shrink(together, [filters_of(2.5 * math.sqrt(18) * step) for step in steps])
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(other, one)
    assert 0 < sum(not row.any() for weight in alone for row in weight) < 10


@pytest.mark.parametrize("regularizer", [*ELEMENTWISE, GroupLasso(0.5)], ids=repr)
@pytest.mark.parametrize("each", [False, True], ids=["one step", "a step each"])
def test_a_step_of_zero_moves_nothing_and_zeros_stay_zero(regularizer: Regularizer, each: bool) -> None:
    v = torch.tensor([[0.5, -2.0], [0.0, 1e-3], [0.0, 0.0]])
    for t, expected in ((0.0, v), (1.0, torch.zeros_like(v))):
        weight = v.clone() if t == 0 else torch.zeros_like(v)
        regularizer.prox([weight], [torch.full_like(v, t)] if each else [t])
        torch.testing.assert_close(weight, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("regularizer", [L1(0.0), L2(0.0), ElasticNet(0.0, 0.0), SmoothL1(0.0, beta=0.1), GroupLasso(0.0)], ids=repr)
@pytest.mark.parametrize("each", [False, True], ids=["one step", "a step each"])
def test_a_strength_of_zero_moves_nothing(regularizer: Regularizer, each: bool) -> None:
    v = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)) * 10.0 ** torch.arange(-6.0, 4.0, 2.5).view(4, 1)
    weight = v.clone()
    regularizer.prox([weight], [torch.full_like(v, 0.3)] if each else [0.3])
    torch.testing.assert_close(weight, v, rtol=1e-7, atol=0)


def test_minimisation_is_not_trusted_at_a_wrong_place() -> None:
    """The reference itself: at twice the solution, the objective is larger."""
    v, step = np.array([1.0, 0.5]), np.array([0.2, 0.7])
    found = group_solution(v, step, 0.5)
    assert group_objective(found, v, step, 0.5) < min(group_objective(found * f, v, step, 0.5) for f in (0.0, 0.9, 1.1, 2.0))


def test_the_prox_works_in_place_on_views() -> None:
    """Apply it to transposed weights and to some filters: the weight itself must change."""
    for regularizer in (*ELEMENTWISE, GroupLasso(0.5)):
        whole = torch.randn(5, 4, 2, 2, generator=torch.Generator().manual_seed(0))
        expected: Tensor = whole.transpose(0, 1)[1:3].contiguous()
        before = whole.clone()
        regularizer.prox([expected], [0.3])
        regularizer.prox([whole.transpose(0, 1)[1:3]], [0.3])
        torch.testing.assert_close(whole[:, 1:3], expected.transpose(0, 1))
        assert torch.equal(whole[:, 0], before[:, 0])
