"""Weights before a norm layer keep the norm they started with, and the function does not notice."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seglab.networks import unet
from seglab.regularizers import (
    L2,
    Constant,
    Decoupled,
    FixedNorm,
    GroupLasso,
    OptimizerStepSizes,
    PerStage,
    Proximal,
    Regularizer,
    Relative,
    Scheduled,
    Sum,
)
from seglab.regularizers.weight import Weight
from tests.nets import adamw, batches, fixed_module, momentum, trained


def by_filter(weight: Tensor) -> Tensor:
    norms: Tensor = weight.detach().flatten(1).norm(dim=1)
    return norms


@pytest.mark.parametrize("optimizer", [momentum, adamw])
@pytest.mark.parametrize("beside", [None, L2(0.3), Decoupled(L2(0.3)), L2(5.0)], ids=repr)
def test_filter_norms_stay_what_they_were(optimizer: Any, beside: Regularizer | None) -> None:
    free = fixed_module(beside, optimizer)
    module = fixed_module(FixedNorm() if beside is None else Sum([beside, FixedNorm()]), optimizer)
    start = by_filter(module.network.first.weight).clone()
    after, without = trained(module, max_epochs=5), trained(free, max_epochs=5)
    torch.testing.assert_close(by_filter(after["first.weight"]), start, rtol=1e-5, atol=0)
    assert float((by_filter(without["first.weight"]) / start - 1).abs().max()) > 0.02
    if beside == L2(5.0) and optimizer is momentum:
        assert float(after["last.weight"].norm()) < 0.2, "no norm layer follows it: L2 still acts"


@pytest.mark.parametrize("norm", ["batch", "group", "transposed"])
def test_rescaling_leaves_the_function_alone(norm: str) -> None:
    torch.manual_seed(0)
    layers: dict[str, Any] = {
        "batch": (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, eps=1e-12)),
        "group": (nn.Conv2d(3, 8, 3, bias=False), nn.GroupNorm(2, 8, eps=1e-12)),
        "transposed": (nn.Conv2d(3, 3, 1), nn.ConvTranspose2d(3, 8, 3), nn.BatchNorm2d(8, eps=1e-12)),
    }
    network = nn.Sequential(*layers[norm], nn.ReLU(), nn.Conv2d(8, 4, 1))
    weights = fixed_module(FixedNorm(), net=lambda: network).weights()
    network.double()
    applied = FixedNorm().bind(weights)
    weight = network.get_parameter("1.weight" if norm == "transposed" else "0.weight")
    start = weight.detach().clone()
    with torch.no_grad():
        weight.add_(torch.randn_like(weight))
    weight.grad = torch.zeros_like(weight)
    image = torch.rand(4, 3, 9, 9, dtype=torch.float64)
    before, moved = network(image), weight.detach().clone()
    applied.after_update(OptimizerStepSizes(torch.optim.SGD([weight], lr=0.1)))
    assert not torch.allclose(weight, moved)
    torch.testing.assert_close(network(image), before, rtol=1e-9, atol=1e-9)
    dim = 1 if norm == "transposed" else 0
    if norm == "group":
        assert float(weight.detach().norm()) == pytest.approx(float(start.norm()))
        assert float((by_filter(weight) / by_filter(start) - 1).abs().max()) > 0.01
    else:
        torch.testing.assert_close(by_filter(weight.transpose(0, dim)), by_filter(start.transpose(0, dim)))


def test_it_makes_the_size_of_the_step_independent_of_decay() -> None:
    """A decay that halves ‖w‖ before a batch norm enlarges the next steps.

    With fixed norms, decay does nothing to these weights.
    """
    decayed, plain = (fixed_module(r, momentum) for r in (Sum([Decoupled(L2(2.0)), FixedNorm()]), FixedNorm()))
    for module in (decayed, plain):
        module.network.last.requires_grad_(False)
    ours, none = trained(decayed), trained(plain)
    assert float((by_filter(ours["first.weight"]) / by_filter(none["first.weight"]) - 1).abs().max()) < 1e-5
    free, _ = trained(fixed_module(Decoupled(L2(2.0)), momentum)), None
    assert float((by_filter(free["first.weight"]) / by_filter(none["first.weight"])).max()) < 0.95


def test_a_filter_that_became_zero_stays_zero() -> None:
    weight = nn.Parameter(torch.randn(4, 3, 1, 1))
    applied = FixedNorm().bind({"w": Weight(weight, "s", False, scale_free="filter")})
    with torch.no_grad():
        weight[1] = 0
    weight.grad = torch.zeros_like(weight)
    applied.after_update(OptimizerStepSizes(torch.optim.SGD([weight], lr=0.1)))
    assert bool(weight.isfinite().all())
    assert not weight[1].any()


def test_after_a_proximal_operator_the_norms_hold_and_zeros_stay() -> None:
    """Wherever it stands in the sum, it comes last in a step."""
    module = fixed_module(Sum([FixedNorm(), Proximal(GroupLasso(0.25))]), lambda p: torch.optim.SGD(p, lr=0.3))
    start = by_filter(module.network.first.weight).clone()
    after = by_filter(trained(module, max_epochs=1)["first.weight"])
    alive = after > 0
    torch.testing.assert_close(after[alive], start[alive])


def test_frozen_weights_are_left_alone() -> None:
    weight = nn.Parameter(torch.randn(4, 3, 1, 1))
    applied = FixedNorm().bind({"w": Weight(weight, "s", False, scale_free="filter")})
    with torch.no_grad():
        weight.mul_(2)
    now = weight.detach().clone()
    applied.after_update(OptimizerStepSizes(torch.optim.SGD([weight], lr=0.1)))
    assert torch.equal(weight, now)


def test_by_stage_only_that_stage_is_held() -> None:
    torch.manual_seed(0)
    module = fixed_module(PerStage({"decoder": FixedNorm()}), lambda p: torch.optim.SGD(p, lr=0.3), net=lambda: unet("tu-test_resnet", 4))
    start = {name: by_filter(w).clone() for name, w in module.network.named_parameters() if w.ndim == 4}
    after = trained(module, batches(2, images=2, side=32), max_epochs=1)
    change = {name: float((by_filter(after[name]) / norm - 1).abs().max()) for name, norm in start.items()}
    assert max(c for name, c in change.items() if name.startswith("decoder.")) < 1e-5
    assert max(c for name, c in change.items() if name.startswith("encoder.")) > 1e-3


@pytest.mark.parametrize("norm", [nn.Identity, nn.ReLU])
def test_without_a_norm_layer_there_is_nothing_to_hold(norm: Any) -> None:
    module = fixed_module(FixedNorm(), net=lambda: nn.Sequential(nn.Conv2d(3, 4, 1), norm()))
    with pytest.raises(ValueError, match="no weight of this network is known to be one"):
        trained(module)


def test_the_penalty_it_adds_is_none() -> None:
    assert float(FixedNorm().penalty([torch.ones(3, 2)])) == 0
    assert float(FixedNorm().bind(fixed_module(None).weights()).value()) == 0


@pytest.mark.parametrize("wrapped", [Scheduled(FixedNorm(), Constant(0.5)), Relative(FixedNorm(), 0.1)], ids=repr)
def test_a_strength_of_what_is_no_penalty_is_refused(wrapped: Any) -> None:
    with pytest.raises(ValueError, match="the regularizer inside has none"):
        wrapped.bind(fixed_module(None).weights())
