"""Every penalty against autograd, finite differences and numerical minimisation, over drawn inputs."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import Tensor

from seglab.regularizers import L1, L2, ElasticNet, Proximal, Regularizer, SmoothL1

ALL = [L1(0.3), L2(0.7), ElasticNet(0.2, 0.5), SmoothL1(0.4, beta=0.25), SmoothL1(0.4, kappa=0.5)]
ids = [repr(regularizer) for regularizer in ALL]

values = st.lists(st.floats(-3, 3, allow_subnormal=True) | st.sampled_from([0.0, -0.0, 5e-324, 1e-310]), min_size=2, max_size=6)


def tensors(first: list[float], second: list[float]) -> list[Tensor]:
    return [torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64).reshape(-1, 1)]


@pytest.mark.parametrize("regularizer", ALL, ids=ids)
@given(first=values, second=values)
@settings(max_examples=60, deadline=None)
def test_the_analytic_gradient_is_that_of_autograd(regularizer: Regularizer, first: list[float], second: list[float]) -> None:
    weights = tensors(first, second)
    fixed = regularizer.fixed(weights)
    for ours, autograd in zip(fixed.gradient(weights), Regularizer.gradient(fixed, weights), strict=True):
        assert torch.allclose(ours, autograd, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("regularizer", ALL, ids=ids)
def test_the_gradient_is_that_of_finite_differences(regularizer: Regularizer) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(4, 3, generator=generator, dtype=torch.float64), torch.randn(5, generator=generator, dtype=torch.float64)]
    fixed = regularizer.fixed(weights)
    gradient = fixed.gradient(weights)
    step = 1e-6
    for index, weight in enumerate(weights):
        for place in np.ndindex(*weight.shape):
            up, down = [w.clone() for w in weights], [w.clone() for w in weights]
            up[index][place] += step
            down[index][place] -= step
            slope = (fixed.penalty(up) - fixed.penalty(down)) / (2 * step)
            assert float(gradient[index][place]) == pytest.approx(float(slope), abs=1e-7)


def scalar_penalty(regularizer: Regularizer, w: float) -> float:
    """R by its textbook definition, in plain Python."""
    match regularizer:
        case L1(strength):
            return strength * abs(w)
        case L2(strength):
            return 0.5 * strength * w * w
        case ElasticNet(l1, l2):
            return l1 * abs(w) + 0.5 * l2 * w * w
        case SmoothL1(strength, None, beta) if beta is not None:
            return strength * (w * w / (2 * beta) if abs(w) < beta else abs(w) - beta / 2)
    raise AssertionError(regularizer)


@pytest.mark.parametrize("regularizer", ALL[:4], ids=ids[:4])
@given(v=st.floats(-3, 3) | st.just(0.0) | st.floats(-1e-300, 1e-300), step=st.floats(0.01, 2))
@settings(max_examples=60, deadline=None)
def test_the_prox_minimises_its_objective(regularizer: Regularizer, v: float, step: float) -> None:
    sizes: tuple[list[float], list[Tensor]] = [step], [torch.full((1,), step, dtype=torch.float64)]
    for size in sizes:
        weight = torch.tensor([v], dtype=torch.float64)
        regularizer.prox([weight], size)
        best = minimize_scalar(
            lambda w: 0.5 * (w - v) ** 2 / step + scalar_penalty(regularizer, w), bounds=(-4, 4), options={"xatol": 1e-10}
        )
        assert float(weight) == pytest.approx(best.x, abs=1e-5)


@pytest.mark.parametrize("regularizer", ALL, ids=ids)
def test_the_penalty_is_the_sum_over_weights_of_its_definition(regularizer: Regularizer) -> None:
    weights = [torch.tensor([0.1, -0.3, 0.0, 2.0], dtype=torch.float64), torch.tensor([[1.0], [-0.2]], dtype=torch.float64)]
    betas: list[float | None]
    if isinstance(regularizer, SmoothL1) and regularizer.kappa is not None:
        betas = [regularizer.kappa * float(np.std(w.numpy())) for w in weights]
    else:
        betas = [getattr(regularizer, "beta", None)] * 2
    expected = sum(
        scalar_penalty(regularizer if beta is None else SmoothL1(0.4, beta=beta), float(w))
        for weight, beta in zip(weights, betas, strict=True)
        for w in weight.flatten()
    )
    assert float(regularizer.penalty(weights)) == pytest.approx(expected)


def test_only_l1_and_elastic_net_give_exact_zeros() -> None:
    for regularizer in ALL:
        weight = torch.tensor([0.01, -0.02, 1.5])
        regularizer.prox([weight], [0.5])
        zeros = int((weight == 0).sum())
        assert zeros == (2 if isinstance(regularizer, L1 | ElasticNet) else 0)


@given(first=values, second=values)
@settings(max_examples=30, deadline=None)
def test_smooth_l1_with_a_beta_above_every_weight_is_l2(first: list[float], second: list[float]) -> None:
    weights = tensors(first, second)
    assert float(SmoothL1(0.4, beta=5.0).penalty(weights)) == pytest.approx(float(L2(0.4 / 5.0).penalty(weights)))
    for ours, theirs in zip(SmoothL1(0.4, beta=5.0).gradient(weights), L2(0.4 / 5.0).gradient(weights), strict=True):
        assert torch.allclose(ours, theirs)


def test_a_relative_beta_is_fixed_where_it_was_bound() -> None:
    start = [torch.randn(100, dtype=torch.float64), 10 * torch.randn(50, dtype=torch.float64)]
    fixed: Any = SmoothL1(1.0, kappa=0.5).fixed(start)
    assert fixed.betas == pytest.approx([0.5 * float(w.std(correction=0)) for w in start])
    assert fixed.fixed([1e3 * w for w in start]).betas == fixed.betas
    assert fixed.select([1]).betas == fixed.betas[1:]


@pytest.mark.parametrize("strength", [-1e-4, math.nan, math.inf])
@pytest.mark.parametrize("make", [L1, L2, lambda s: ElasticNet(s, 0.1), lambda s: ElasticNet(0.1, s), lambda s: SmoothL1(s, kappa=0.5)])
def test_a_strength_that_is_no_strength_is_refused(make: type[L1], strength: float) -> None:
    with pytest.raises(ValueError, match="strength must be a finite number, 0 or more; got"):
        make(strength)


@pytest.mark.parametrize("arguments", [{}, {"kappa": 0.5, "beta": 0.5}, {"beta": 0.0}, {"kappa": -1.0}, {"beta": math.nan}])
def test_smooth_l1_wants_one_positive_width(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="SmoothL1: "):
        SmoothL1(1e-4, **arguments)


def test_proximal_wants_a_prox() -> None:
    class OnlyPenalty(Regularizer):
        def penalty(self, weights: list[Tensor]) -> Tensor:  # type: ignore[override]
            return weights[0].sum()

    with pytest.raises(ValueError, match="OnlyPenalty has no proximal operator"):
        Proximal(OnlyPenalty())
