"""Penalties and their proximal operators against pyproximal, on drawn weights and on the cases of its own tests."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from seglab.regularizers import L1, L2, ElasticNet, GroupLasso, Regularizer, SmoothL1
from seglab.regularizers.weight import Steps

proximal = pytest.importorskip("pyproximal", reason="pyproximal is not installed: pip install -e '.[peers]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of pyproximal

Floats = npt.NDArray[np.float64]
SEEDS = range(5)
STEPS = [0.01, 0.3, 2.0]
FILTERS, LENGTH = 6, 9


def drawn(seed: int) -> Floats:
    """Weights (6, 9): filters of different norms, one of them 0."""
    rng = np.random.default_rng(seed)
    weight: Floats = rng.normal(size=(FILTERS, LENGTH)) * np.array([0.0, 0.01, 0.1, 0.5, 1.0, 3.0])[:, None]
    return weight


def prox(penalty: Regularizer, weight: Floats, step: float | Floats) -> Floats:
    found = torch.from_numpy(weight.copy())
    steps: Steps = [step] if isinstance(step, float) else [torch.from_numpy(step)]
    penalty.fixed([found]).prox([found], steps)
    moved: Floats = found.numpy()
    return moved


def value(penalty: Regularizer, weight: Floats) -> float:
    return float(penalty.penalty([torch.from_numpy(weight)]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", STEPS)
def test_l1_is_soft_thresholding(seed: int, step: float) -> None:
    weight = drawn(seed)
    np.testing.assert_allclose(prox(L1(0.4), weight, step), proximal.L1(0.4).prox(weight, step), atol=1e-12)
    assert value(L1(0.4), weight) == pytest.approx(proximal.L1(0.4)(weight))


@pytest.mark.parametrize("seed", SEEDS)
def test_l1_with_a_step_for_each_element_is_l1_with_a_strength_for_each(seed: int) -> None:
    weight = drawn(seed)
    steps = np.random.default_rng(seed + 100).uniform(0.01, 3.0, weight.shape)
    theirs = proximal.L1(0.4 * steps.ravel()).prox(weight.ravel(), 1.0).reshape(weight.shape)
    np.testing.assert_allclose(prox(L1(0.4), weight, steps), theirs, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", STEPS)
def test_l2_shrinks(seed: int, step: float) -> None:
    weight = drawn(seed)
    theirs = proximal.L2(sigma=0.4)
    np.testing.assert_allclose(prox(L2(0.4), weight, step), theirs.prox(weight.ravel(), step).reshape(weight.shape), atol=1e-12)
    assert value(L2(0.4), weight) == pytest.approx(theirs(weight))
    (gradient,) = L2(0.4).gradient([torch.from_numpy(weight)])
    np.testing.assert_allclose(gradient.numpy(), theirs.grad(weight), atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", STEPS)
def test_the_elastic_net_thresholds_and_then_shrinks(seed: int, step: float) -> None:
    weight = drawn(seed)
    theirs = proximal.L2(sigma=0.7).prox(proximal.L1(0.4).prox(weight, step), step)
    np.testing.assert_allclose(prox(ElasticNet(0.4, 0.7), weight, step), theirs, atol=1e-12)
    assert value(ElasticNet(0.4, 0.7), weight) == pytest.approx(proximal.L1(0.4)(weight) + proximal.L2(sigma=0.7)(weight))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", STEPS)
def test_the_group_lasso_is_l21_with_the_root_of_the_length(seed: int, step: float) -> None:
    """pyproximal's groups are columns, and its norm has no √|g|, which is 3 here."""
    weight = drawn(seed)
    theirs = proximal.L21(ndim=LENGTH, sigma=3 * 0.4)
    np.testing.assert_allclose(prox(GroupLasso(0.4), weight, step), theirs.prox(weight.T.ravel(), step).reshape(LENGTH, -1).T, atol=1e-12)
    assert value(GroupLasso(0.4), weight) == pytest.approx(theirs(weight.T.ravel()))
    without = proximal.L21(ndim=LENGTH, sigma=0.4)
    assert value(GroupLasso(0.4), weight) == pytest.approx(3 * without(weight.T.ravel()))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", STEPS)
def test_the_group_lasso_with_steps_of_elements_that_are_equal_is_l21(seed: int, step: float) -> None:
    """The root that has no closed form, where there is one to compare with."""
    weight = drawn(seed)
    found = prox(GroupLasso(0.4), weight, np.full_like(weight, step))
    theirs = proximal.L21(ndim=LENGTH, sigma=3 * 0.4).prox(weight.T.ravel(), step).reshape(LENGTH, -1).T
    np.testing.assert_allclose(found, theirs, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", STEPS)
def test_smooth_l1_is_the_circular_huber_norm_of_each_element(seed: int, step: float) -> None:
    weight = drawn(seed)
    theirs = proximal.HuberCircular(alpha=0.25)
    expected = np.array([theirs.prox(np.array([v]), 0.4 * step)[0] for v in weight.ravel()]).reshape(weight.shape)
    np.testing.assert_allclose(prox(SmoothL1(0.4, beta=0.25), weight, step), expected, atol=1e-12)
    assert value(SmoothL1(0.4, beta=0.25), weight) == pytest.approx(0.4 * proximal.Huber(alpha=0.25)(weight))


def test_pyproximals_huber_prox_is_another_and_does_not_minimise() -> None:
    """Show that pyproximal switches to soft thresholding at |v| = α, where the prox does so at α + τ.

    For v = 1.2, α = 1, τ = 1, pyproximal gives 0.2 and not 0.6.
    """
    v, alpha, tau = 1.2, 1.0, 1.0

    def objective(w: float) -> float:
        return (w - v) ** 2 / (2 * tau) + float(proximal.Huber(alpha)(np.array([w])))

    theirs = float(proximal.Huber(alpha).prox(np.array([v]), tau)[0])
    ours = float(prox(SmoothL1(1.0, beta=alpha), np.array([v]), tau)[0])
    least = min(objective(w) for w in np.linspace(-2, 2, 4001))
    assert theirs == pytest.approx(0.2)
    assert ours == pytest.approx(0.6)
    assert objective(ours) == pytest.approx(least)
    assert objective(theirs) > least + 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_l1_and_then_the_group_lasso_is_the_sparse_group_lasso(seed: int) -> None:
    """For this pair, two operators in a row are the operator of the sum.

    In general they are not, so `Sum` refuses two.
    """
    weight = drawn(seed)[1:]
    both = prox(GroupLasso(0.2 / 3), prox(L1(0.8), weight, 0.3), 0.3)
    np.testing.assert_allclose(both, proximal.L21_plus_L1(sigma=1.0, rho=0.8).prox(weight.T, 0.3).T, atol=1e-12)


@pytest.mark.parametrize(("size", "strength"), [(10, 1.0), (11, 2.0)])
def test_moreaus_identity_as_in_its_own_tests(size: int, strength: float) -> None:
    """The cases of pytests/test_norms.py: v = prox_{τf}(v) + τ prox*_{f/τ}(v/τ) at τ = 2.

    The second part is pyproximal's.
    """
    np.random.seed(10)  # noqa: NPY002 - the seed of those tests
    v = np.random.normal(0.0, 1.0, 2 * size)  # noqa: NPY002
    for penalty, theirs in ((L1(strength), proximal.L1(strength)), (L2(strength), proximal.L2(sigma=strength))):
        np.testing.assert_allclose(prox(penalty, v, 2.0) + 2.0 * theirs.proxdual(v / 2.0, 1 / 2.0), v, atol=1e-12)
    rows = v.reshape(2, size).T
    dual = proximal.L21(ndim=2, sigma=strength).proxdual(v / 2.0, 1 / 2.0).reshape(2, size).T
    np.testing.assert_allclose(prox(GroupLasso(strength / np.sqrt(2)), rows, 2.0) + 2.0 * dual, rows, atol=1e-12)


def test_the_weights_are_not_copied() -> None:
    """The proximal operators of seglab act in place, so that the checks above see what a training does."""
    weight = Tensor([3.0])
    L1(1.0).prox([weight], [1.0])
    assert weight.item() == 2
