"""The lasso with 45 true zeros of 50: who finds them under AdamW, against coordinate descent."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet as Reference
from sklearn.linear_model import Lasso
from torch import Tensor

from seglab.regularizers import L1, ElasticNet, GroupLasso, OptimizerStepSizes, Proximal, Regularizer, Weight
from seglab.stage import Progress
from tests.regularizers.toys import Optimizers

STRENGTH = 0.1


def problem() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 50, generator=generator)
    truth = torch.zeros(50)
    truth[:5] = torch.tensor([2.0, -1.5, 1.0, 0.8, -0.6])
    return inputs, inputs @ truth + 0.1 * torch.randn(200, generator=generator), truth


def adamw(weights: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(weights, lr=0.02, weight_decay=0.0)


def solve(regularizer: Regularizer, optimizers: Optimizers = adamw, *, steps: int = 3000, anneal: bool = True) -> Tensor:
    inputs, targets, _ = problem()
    weight = torch.nn.Parameter(0.1 * torch.randn(1, 50, generator=torch.Generator().manual_seed(1)))
    optimizer = optimizers([weight])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=1e-4 if anneal else optimizer.param_groups[0]["lr"])
    applied = regularizer.bind({"w": Weight(weight, "head", False)})
    for step in range(steps):
        optimizer.zero_grad()
        (0.5 * (inputs @ weight[0] - targets).square().mean()).backward()
        applied.before_update(Progress(step, steps, steps))
        optimizer.step()
        applied.after_update(OptimizerStepSizes(optimizer))
        schedule.step()
    return weight.detach()[0]


def test_the_preconditioned_prox_finds_the_zeros_and_the_solution() -> None:
    inputs, targets, truth = problem()
    found = solve(Proximal(L1(STRENGTH)))
    reference = Lasso(alpha=STRENGTH, fit_intercept=False, tol=1e-8).fit(inputs.double().numpy(), targets.double().numpy()).coef_
    assert int((found == 0).sum()) == 45
    assert bool((found[truth != 0] != 0).all())
    np.testing.assert_allclose(found.numpy(), reference, atol=2e-3)


def test_the_sub_gradient_finds_none() -> None:
    assert int((solve(L1(STRENGTH)) == 0).sum()) == 0


def test_the_uniform_threshold_solves_another_problem() -> None:
    inputs, targets, _ = problem()
    reference = Lasso(alpha=STRENGTH, fit_intercept=False, tol=1e-8).fit(inputs.double().numpy(), targets.double().numpy()).coef_
    assert np.abs(solve(Proximal(L1(STRENGTH), preconditioned=False)).numpy() - reference).max() > 0.01


@pytest.mark.parametrize("amsgrad", [False, True])
def test_the_step_sizes_are_those_that_adam_took(amsgrad: bool) -> None:
    weight = torch.nn.Parameter(torch.randn(7, generator=torch.Generator().manual_seed(0)))
    optimizer = torch.optim.Adam([weight], lr=0.01, betas=(0.0, 0.99), amsgrad=amsgrad)  # without momentum the step is size × gradient
    for step in range(5):
        before = weight.detach().clone()
        weight.grad = torch.sin(torch.arange(7.0) + step) + 0.1
        optimizer.step()
        (size,) = OptimizerStepSizes(optimizer).preconditioned([weight])
        torch.testing.assert_close(before - weight.detach(), size * weight.grad, rtol=1e-5, atol=1e-7)


def test_sgd_has_one_step_size() -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    sizes = OptimizerStepSizes(torch.optim.SGD([weight], lr=0.3))
    assert sizes.preconditioned([weight]) == [0.3]


@pytest.mark.parametrize("kind", [torch.optim.NAdam, torch.optim.RMSprop, torch.optim.Adagrad])
def test_an_optimizer_whose_steps_are_not_known_is_refused(kind: type[torch.optim.Optimizer]) -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    sizes = OptimizerStepSizes(kind([weight], lr=0.3))  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="preconditioned=False"):
        sizes.preconditioned([weight])
    assert sizes.uniform([weight]) == [0.3]


SGDS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "dampened": {"momentum": 0.9, "dampening": 0.5},
}


@pytest.mark.parametrize("settings", SGDS.values(), ids=SGDS)
def test_under_sgd_the_prox_solves_the_lasso_whatever_the_momentum(settings: dict[str, float]) -> None:
    """torch's momentum sums gradients, so they reach 1/(1−μ) times as far as the learning rate says.

    Thresholds must reach as far.
    """
    inputs, targets, _ = problem()
    found = solve(Proximal(L1(STRENGTH)), lambda weights: torch.optim.SGD(weights, lr=0.02, **settings), steps=1000, anneal=False)  # type: ignore[arg-type]
    reference = Lasso(alpha=STRENGTH, fit_intercept=False, tol=1e-8).fit(inputs.double().numpy(), targets.double().numpy()).coef_
    assert int((found == 0).sum()) == 45
    np.testing.assert_allclose(found.numpy(), reference, atol=1e-4)


@pytest.mark.parametrize(("kind", "amsgrad"), [(torch.optim.Adam, True), (torch.optim.AdamW, False)])
def test_under_adam_the_prox_solves_the_elastic_net(kind: type[torch.optim.Adam], amsgrad: bool) -> None:
    inputs, targets, _ = problem()
    found = solve(Proximal(ElasticNet(STRENGTH, 0.2)), lambda weights: kind(weights, lr=0.02, weight_decay=0.0, amsgrad=amsgrad))
    reference = Reference(alpha=STRENGTH + 0.2, l1_ratio=STRENGTH / (STRENGTH + 0.2), fit_intercept=False, tol=1e-8)
    expected = reference.fit(inputs.double().numpy(), targets.double().numpy()).coef_
    np.testing.assert_allclose(found.numpy(), expected, atol=3e-3)
    assert ((found == 0).numpy() == (expected == 0)).all()


def test_the_prox_of_the_group_lasso_finds_the_groups() -> None:
    """Five filters of ten weights; X is orthogonal, so the problem is separable and has a closed form."""
    target = torch.randn(5, 10, generator=torch.Generator().manual_seed(3)) * torch.tensor([2.0, 0.1, 1.0, 0.2, 0.05]).view(5, 1)
    weight = torch.nn.Parameter(torch.randn(5, 10, generator=torch.Generator().manual_seed(4)))
    optimizer = torch.optim.AdamW([weight], lr=0.02, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2000, eta_min=1e-4)
    applied = Proximal(GroupLasso(0.3)).bind({"w": Weight(weight, "head", False)})
    for _ in range(2000):
        weight.grad = weight.detach() - target
        optimizer.step()
        applied.after_update(OptimizerStepSizes(optimizer))
        schedule.step()
    threshold = 0.3 * 10**0.5
    expected = target * (1 - threshold / target.norm(dim=1, keepdim=True)).clamp_min(0)
    assert [bool(row.any()) for row in expected] == [True, False, True, False, False]
    torch.testing.assert_close(weight.detach(), expected, atol=3e-3, rtol=0)
    assert torch.equal(weight.detach() == 0, expected == 0)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_step_of_sgd_with_momentum_is_how_far_a_constant_gradient_moves_a_weight(momentum: float) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.3, momentum=momentum)
    for _ in range(200):
        before = weight.detach().clone()
        weight.grad = torch.ones(1)
        optimizer.step()
    assert OptimizerStepSizes(optimizer).preconditioned([weight]) == pytest.approx([float(before - weight.detach())], rel=1e-3)
    assert OptimizerStepSizes(optimizer).uniform([weight]) == [0.3]
