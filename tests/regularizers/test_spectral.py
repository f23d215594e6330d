"""The estimate of leading singular vectors against singular value decomposition."""

import numpy as np
import pytest
import torch
from torch import Tensor

from seglab.regularizers import Anchored, Spectral, Weight
from seglab.stage import Progress
from tests.regularizers.toys import begin, some_weights

NOW = Progress(0, 1, 1)


def leading(weight: Tensor) -> tuple[float, Tensor]:
    """σ₁, and the exact gradient of ½σ₁²: σ₁u₁v₁ᵀ."""
    u, sigma, v = np.linalg.svd(weight.detach().double().reshape(len(weight), -1).numpy())
    return float(sigma[0]), torch.from_numpy(sigma[0] * np.outer(u[:, 0], v[0])).view(weight.shape)


def with_gap(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Drawn, with a leading singular value that stands out."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = drawn.view(shape[0], -1)
    rows += 4 * torch.outer(rows[:, 0], rows[0]) / rows[0, 0].abs()
    return drawn.to(dtype)


@pytest.mark.parametrize("shape", [(8, 3, 3, 3), (3, 20), (20, 3), (5,), (1, 4)], ids=str)
def test_the_first_estimate_is_the_singular_value(shape: tuple[int, ...]) -> None:
    weight = with_gap(*shape)
    found = Spectral(0.7).fixed([weight])
    sigma, gradient = leading(weight)
    assert float(found.penalty([weight])) == pytest.approx(0.35 * sigma**2, rel=1e-5)
    torch.testing.assert_close(found.gradient([weight])[0].double(), 0.7 * gradient, rtol=1e-3, atol=1e-4 * sigma)


def test_the_exact_gradient_by_autograd_is_that_of_the_decomposition() -> None:
    weight = with_gap(4, 6, dtype=torch.float64)
    torch.testing.assert_close(Spectral(0.7).gradient([weight])[0], 0.7 * leading(weight)[1])


def test_the_estimate_follows_weights_that_drift() -> None:
    """From one drawn matrix to another, over 300 steps."""
    generator = torch.Generator().manual_seed(1)
    start, end = torch.randn(2, 6, 4, 3, generator=generator)
    found, errors = Spectral(1.0).fixed([start]), []
    for part in torch.linspace(0, 1, 300):
        weight = torch.lerp(start, end, float(part))
        found.gradient([weight])
        errors.append(1 - float(found.penalty([weight])) / (0.5 * leading(weight)[0] ** 2))
    assert min(errors) > -1e-5, "an estimate is never above the norm"
    assert max(errors) < 0.1
    for _ in range(300):
        (gradient,) = found.gradient([end])
    torch.testing.assert_close(gradient.double(), leading(end)[1], rtol=1e-3, atol=1e-3)


def test_fixing_draws_nothing_of_the_training() -> None:
    before = torch.get_rng_state()
    first, second = Spectral(1.0).fixed([with_gap(4, 5)]), Spectral(1.0).fixed([with_gap(4, 5)])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.left[0], second.left[0])


def test_a_subset_improves_the_estimate_of_the_whole() -> None:
    weights = [with_gap(4, 5), with_gap(6, 2)]
    found = Spectral(1.0).fixed(weights)
    before = [left.clone() for left in found.left]
    found.select([1]).gradient([torch.flip(weights[1], [0])])
    assert torch.equal(found.left[0], before[0])
    assert not torch.equal(found.left[1], before[1])


def test_weights_that_start_at_zero_are_penalized_once_they_move() -> None:
    weight = torch.nn.Parameter(torch.zeros(4, 5))
    applied = begin(Spectral(1.0), {"w": Weight(weight, "head", False)}, 50)
    for moved in (False, True):
        if moved:
            with torch.no_grad():
                weight.add_(with_gap(4, 5))
        for _ in range(40):
            weight.grad = torch.zeros_like(weight)
            applied.before_update(NOW)
        expected = leading(weight)[1] if moved else torch.zeros(4, 5, dtype=torch.float64)
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad.double(), expected, rtol=1e-3, atol=1e-3)


def test_anchored_it_limits_the_norm_of_the_change() -> None:
    """The change is zero at the first step, and must be seen at the later ones."""
    weights = {name: weight for name, weight in some_weights().items() if weight.pretrained}
    applied = begin(Anchored(Spectral(1.0)), weights, 50)
    change = with_gap(6, 3, 3, 3)
    for step in range(50):
        for weight in weights.values():
            weight.tensor.grad = torch.zeros_like(weight.tensor)
        applied.before_update(NOW)
        if step == 0:
            with torch.no_grad():
                weights["conv"].tensor.add_(change)
    gradient = weights["conv"].tensor.grad
    assert gradient is not None
    torch.testing.assert_close(gradient.double(), leading(change)[1], rtol=1e-3, atol=1e-3)


def test_it_follows_weights_to_double_precision() -> None:
    weight = torch.nn.Parameter(with_gap(4, 5))
    applied = begin(Spectral(1.0), {"w": Weight(weight, "head", False)}, 50)
    weight.data = weight.data.double()
    weight.grad = torch.zeros_like(weight)
    applied.before_update(NOW)
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, leading(weight)[1], rtol=1e-3, atol=1e-4)
    assert float(applied.value()) == pytest.approx(0.5 * leading(weight)[0] ** 2, rel=1e-5)
