"""Every penalty against its textbook definition in numpy; its gradient against autograd and the definition's slopes."""

import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from seglab import regularizers
from seglab.regularizers import (
    L1,
    L2,
    ElasticNet,
    FixedNorm,
    GroupLasso,
    HoyerSquare,
    Orthogonality,
    PerStage,
    Regularizer,
    SmoothL1,
    Spectral,
    Sum,
    Wrapper,
)
from seglab.regularizers.penalty import Penalty
from tests.regularizers.toys import drawn_weights

Array = NDArray[np.float64]

ELEMENTWISE = [L1(0.3), L2(0.7), ElasticNet(0.2, 0.5), SmoothL1(0.4, beta=0.25), SmoothL1(0.4, kappa=0.5)]
ALL = [*ELEMENTWISE, GroupLasso(0.6), HoyerSquare(0.1), Orthogonality(0.2), Spectral(0.9)]


def definition(regularizer: Regularizer, weight: Array, start: Array) -> float:
    """λR of one tensor; `start` is what Smooth-L1's κ refers to."""
    rows = weight.reshape(len(weight), -1)
    size = np.abs(weight)
    match regularizer:
        case L1(strength):
            return strength * float(size.sum())
        case L2(strength):
            return 0.5 * strength * float((weight**2).sum())
        case ElasticNet(l1, l2):
            return l1 * float(size.sum()) + 0.5 * l2 * float((weight**2).sum())
        case SmoothL1(strength, kappa, beta):
            beta = float(beta) if beta is not None else float(kappa or 0) * max(float(start.std()), 2.0**-126)  # float32's smallest
            return strength * sum(float(w * w / (2 * beta) if w < beta else w - beta / 2) for w in size.flatten().tolist())
        case GroupLasso(strength):
            return strength * sum(math.sqrt(len(row)) * float(np.linalg.norm(row)) for row in rows)
        case HoyerSquare(strength):
            return strength * float(size.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0
        case Orthogonality(strength):
            gram = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
            return strength * float(((gram - np.eye(len(gram))) ** 2).sum())
        case Spectral(strength):
            return 0.5 * strength * float(np.linalg.svd(rows, compute_uv=False)[0] ** 2)
    raise NotImplementedError(repr(regularizer))


def defined(regularizer: Regularizer, weights: list[Array], start: list[Tensor]) -> float:
    return sum(definition(regularizer, weight, first.numpy()) for weight, first in zip(weights, start, strict=True))


def size_of_terms(regularizer: Penalty, weight: Tensor, gradient: Tensor) -> float:
    """The largest of what a gradient's elements are differences of; they are as exact as it allows."""
    size = float(gradient.abs().max())
    if isinstance(regularizer, HoyerSquare) and weight.any():
        size = max(size, 2 * regularizer.strength * float(weight.abs().sum() / weight.square().sum()))
    return size


@pytest.mark.parametrize("regularizer", ALL, ids=repr)
@given(weights=drawn_weights())
@settings(max_examples=60, deadline=None)
def test_the_value_is_that_of_the_textbook(regularizer: Regularizer, weights: list[Tensor]) -> None:
    expected = defined(regularizer, [weight.numpy() for weight in weights], weights)
    assert float(regularizer.penalty(weights)) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("regularizer", [r for r in ALL if not isinstance(r, Spectral)], ids=repr)
@given(weights=drawn_weights())
@settings(max_examples=60, deadline=None)
def test_the_written_gradient_is_that_of_autograd(regularizer: Regularizer, weights: list[Tensor]) -> None:
    fixed = regularizer.fixed(weights)
    for weight, ours, autograd in zip(weights, fixed.gradient(weights), Regularizer.gradient(fixed, weights), strict=True):
        assert ours.shape == weight.shape
        torch.testing.assert_close(ours, autograd, rtol=1e-9, atol=1e-12 * size_of_terms(fixed, weight, autograd))


@pytest.mark.parametrize("regularizer", [r for r in ALL if not isinstance(r, Spectral)], ids=repr)
@given(weights=drawn_weights(smallest=-6, largest=3), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_written_gradient_is_the_slope_of_the_textbook(regularizer: Regularizer, weights: list[Tensor], seed: int) -> None:
    """Along directions that leave zeros zero, where L1 and the group lasso have no slope."""
    gradient = regularizer.fixed(weights).gradient(weights)
    rng = np.random.default_rng(seed)
    direction = [weight.numpy() * rng.uniform(-1, 1, weight.shape) for weight in weights]
    step = 1e-5
    up, down = (
        defined(regularizer, [w.numpy() + sign * step * d for w, d in zip(weights, direction, strict=True)], weights) for sign in (1, -1)
    )
    slope = sum(float((g.numpy() * d).sum()) for g, d in zip(gradient, direction, strict=True))
    value = defined(regularizer, [weight.numpy() for weight in weights], weights)
    assert (up - down) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-9 * value)


@pytest.mark.parametrize("regularizer", [r for r in ALL if not isinstance(r, Spectral)], ids=repr)
@given(weights=drawn_weights(smallest=-12, largest=4))
@settings(max_examples=40, deadline=None)
def test_float32_gives_the_gradient_of_float64(regularizer: Regularizer, weights: list[Tensor]) -> None:
    single = [weight.float() for weight in weights]
    double = [weight.double() for weight in single]
    fixed = regularizer.fixed(single)
    for weight, ours, expected in zip(double, fixed.gradient(single), fixed.gradient(double), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=1e-6 * size_of_terms(fixed, weight, expected))


@pytest.mark.parametrize("regularizer", ALL, ids=repr)
@pytest.mark.parametrize("shape", [(4,), (3, 2), (2, 3, 3, 3), ()], ids=str)
def test_at_zeros_nothing_is_pushed(regularizer: Regularizer, shape: tuple[int, ...]) -> None:
    if shape == () and isinstance(regularizer, HoyerSquare | Orthogonality):
        shape = (1,)
    weight = torch.zeros(shape)
    fixed = regularizer.fixed([weight])
    (ours,), (autograd,) = fixed.gradient([weight]), Regularizer.gradient(fixed, [weight])
    assert torch.equal(ours, torch.zeros(shape))
    assert torch.equal(autograd, torch.zeros(shape))
    assert math.isfinite(float(regularizer.penalty([weight])))


@pytest.mark.parametrize("regularizer", [r for r in ALL if not isinstance(r, SmoothL1)], ids=repr)
def test_denormal_weights_give_finite_gradients(regularizer: Regularizer) -> None:
    weight = torch.tensor([[1e-40, -1e-45], [0.0, 3e-39]])
    for gradient in (*regularizer.fixed([weight]).gradient([weight]), *Regularizer.gradient(regularizer.fixed([weight]), [weight])):
        assert bool(gradient.isfinite().all())
    assert math.isfinite(float(regularizer.penalty([weight])))


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (4, 4), (2, 2, 3, 3), (9, 2, 2, 1)], ids=str)
def test_both_gram_matrices_have_one_gradient(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    rows = weight.reshape(len(weight), -1)
    values = [(gram - torch.eye(len(gram), dtype=torch.float64)).square().sum() for gram in (rows @ rows.T, rows.T @ rows)]
    (ours,) = Orthogonality(0.5).gradient([weight.detach()])
    for value in values:
        (expected,) = torch.autograd.grad(0.5 * value, weight, retain_graph=True)
        torch.testing.assert_close(ours, expected)
    assert float((values[1] - values[0]).detach()) == pytest.approx(rows.shape[1] - rows.shape[0])  # |g| − G
    assert float(Orthogonality(1.0).penalty([weight.detach()])) == pytest.approx(min(float(value.detach()) for value in values))


@given(weights=drawn_weights(smallest=-6, largest=6), factor=st.floats(-1e4, 1e4).filter(lambda x: abs(x) > 1e-4))
@settings(max_examples=40, deadline=None)
def test_hoyer_square_counts_weights_whatever_their_scale(weights: list[Tensor], factor: float) -> None:
    value = float(HoyerSquare(1.0).penalty(weights))
    assert float(HoyerSquare(1.0).penalty([factor * weight for weight in weights])) == pytest.approx(value)
    assert sum(float(weight.any()) for weight in weights) - 1e-9 <= value
    assert value <= sum(float((weight != 0).sum()) for weight in weights) + 1e-9
    for weight, gradient in zip(weights, HoyerSquare(1.0).gradient(weights), strict=True):
        assert abs(float((weight * gradient).sum())) <= 1e-9 * weight.numel()  # Euler: no slope along the weight itself


@pytest.mark.parametrize("make", [GroupLasso, HoyerSquare, Orthogonality, Spectral])
@pytest.mark.parametrize("strength", [-1e-9, math.nan, math.inf])
def test_a_strength_that_is_none_is_refused(make: type[GroupLasso], strength: float) -> None:
    with pytest.raises(ValueError, match="strength must be a finite number, 0 or more; got"):
        make(strength)


def test_every_public_penalty_has_its_textbook_definition_here() -> None:
    public = [getattr(regularizers, name) for name in regularizers.__all__]
    concrete = {cls for cls in public if isinstance(cls, type) and issubclass(cls, Regularizer) and not inspect.isabstract(cls)}
    wrappers = {cls for cls in concrete if issubclass(cls, Wrapper)} | {Sum, PerStage, FixedNorm}
    assert concrete - wrappers <= {type(regularizer) for regularizer in ALL}
