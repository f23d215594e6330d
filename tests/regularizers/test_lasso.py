"""The lasso with 45 true zeros of 50: who finds them under AdamW, against coordinate descent."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import Tensor

from seglab.regularizers import L1, OptimizerStepSizes, Proximal, Regularizer, Weight
from seglab.stage import Progress

STRENGTH = 0.1


def problem() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 50, generator=generator)
    truth = torch.zeros(50)
    truth[:5] = torch.tensor([2.0, -1.5, 1.0, 0.8, -0.6])
    return inputs, inputs @ truth + 0.1 * torch.randn(200, generator=generator), truth


def solve(regularizer: Regularizer) -> Tensor:
    inputs, targets, _ = problem()
    weight = torch.nn.Parameter(torch.zeros(1, 50))
    with torch.no_grad():
        weight += 0.1 * torch.randn(1, 50, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.AdamW([weight], lr=0.02, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3000, eta_min=1e-4)
    applied = regularizer.bind({"w": Weight(weight, "head", False)})
    for step in range(3000):
        optimizer.zero_grad()
        (0.5 * (inputs @ weight[0] - targets).square().mean()).backward()
        applied.before_update(Progress(0, step, step / 3000))
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
