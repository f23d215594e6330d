"""Penalties on the distance from pretrained weights, against steps computed by hand; exact anchors stay exact."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seglab.regularizers import L1, L2, Anchored, Decoupled, ElasticNet, GroupLasso, PerStage, Proximal, Regularizer, SmoothL1, Where
from seglab.stage import Progress
from tests.nets import Staged, adamw, fixed_module, momentum, trained
from tests.regularizers.toys import begin, moved, optimizer_step, some_weights

NOW = Progress(0, 1, 1)


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def test_l2_sp_has_the_strengths_of_its_authors() -> None:
    """Li et al. 2018: α/2‖w − w⁰‖² on pretrained weights, β/2‖w‖² on new ones."""
    weights = some_weights()
    start = {name: weight.tensor.detach().clone() for name, weight in weights.items()}
    applied = begin(Anchored(L2(0.3), new=L2(0.7)), weights, 2)
    expected = 0.0
    for name, weight in weights.items():
        with torch.no_grad():
            weight.tensor.add_(torch.randn(weight.tensor.shape, generator=torch.Generator().manual_seed(1)))
        weight.tensor.grad = torch.zeros_like(weight.tensor)
        now = weight.tensor.detach()
        expected += float(0.15 * (now - start[name]).square().sum() if weight.pretrained else 0.35 * now.square().sum())
    applied.before_update(NOW)
    for name, weight in weights.items():
        now = weight.tensor.detach()
        torch.testing.assert_close(weight.tensor.grad, 0.3 * (now - start[name]) if weight.pretrained else 0.7 * now)
    assert float(applied.value()) == pytest.approx(expected, rel=1e-5)


def test_without_new_the_penalty_is_on_all_weights() -> None:
    weights = some_weights()
    applied = begin(Anchored(L2(0.3)), weights, 2)
    for weight in weights.values():
        weight.tensor.grad = torch.zeros_like(weight.tensor)
    applied.before_update(NOW)
    for weight in weights.values():
        expected = torch.zeros_like(weight.tensor) if weight.pretrained else 0.3 * weight.tensor.detach()
        torch.testing.assert_close(weight.tensor.grad, expected)


@pytest.mark.parametrize("penalty", [L1(0.3), L2(0.3), ElasticNet(0.1, 0.3), SmoothL1(0.3, beta=0.05), GroupLasso(0.1)], ids=repr)
def test_the_prox_is_that_of_the_shifted_weights(penalty: Regularizer) -> None:
    """w⁰ + prox(v − w⁰), by the penalty's own prox on a copy."""
    weights = some_weights()
    start = {name: weight.tensor.detach().clone() for name, weight in weights.items()}
    applied, optimizer = begin(Anchored(Proximal(penalty)), weights, 1), sgd([weight.tensor for weight in weights.values()])
    expected: dict[str, Tensor] = {}
    for name, weight in weights.items():
        weight.tensor.grad = torch.randn(weight.tensor.shape, generator=torch.Generator().manual_seed(2))
        anchor = start[name] if weight.pretrained else torch.zeros_like(start[name])
        shifted = (start[name] - 0.1 * weight.tensor.grad - anchor).contiguous()
        turned = shifted.transpose(0, 1) if weight.transposed else shifted
        penalty.prox([turned], [0.1])
        expected[name] = anchor + shifted
    optimizer_step(applied, optimizer, NOW)
    for name, weight in weights.items():
        torch.testing.assert_close(weight.tensor.detach(), expected[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "optimizer", [sgd, lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.0)], ids=["sgd", "adamw"]
)
def test_with_the_prox_weights_stay_exactly_where_they_were(optimizer: Any) -> None:
    """L1-SP: data gradients below λ do not move a weight at all; those of new weights make zeros."""
    weights = some_weights()
    start = {name: weight.tensor.detach().clone() for name, weight in weights.items()}
    applied, built = begin(Anchored(Proximal(L1(1.0))), weights, 3), optimizer([weight.tensor for weight in weights.values()])
    generator = torch.Generator().manual_seed(2)
    for step in range(3):
        for weight in weights.values():
            weight.tensor.grad = torch.empty_like(weight.tensor).uniform_(-0.9, 0.9, generator=generator)
        weights["conv"].tensor.grad[0, 0, 0, 0] = 5.0  # type: ignore[index]
        optimizer_step(applied, built, Progress(step, 3, 3))
    stayed = weights["conv"].tensor.detach() == start["conv"]
    if optimizer is sgd:
        assert int((~stayed).sum()) == 1
        assert not stayed[0, 0, 0, 0]
    else:  # momentum and the second moment of few steps are not those of one gradient
        assert float(stayed.float().mean()) > 0.9
        assert not stayed[0, 0, 0, 0]


def test_group_lasso_sp_leaves_whole_filters_at_their_start() -> None:
    weights = {"conv": some_weights()["conv"]}
    weight = weights["conv"].tensor
    start = weight.detach().clone()
    weight.grad = torch.full_like(weight, 0.01)
    weight.grad[2] = 10.0
    optimizer_step(begin(Anchored(Proximal(GroupLasso(0.5))), weights, 1), sgd([weight]), NOW)
    assert [torch.equal(now, then) for now, then in zip(weight.detach(), start, strict=True)] == [True, True, False, True, True, True]


@pytest.mark.parametrize("penalty", [L1(0.2), L2(0.2), GroupLasso(0.05), SmoothL1(0.2, kappa=0.3)], ids=repr)
@pytest.mark.parametrize("route", [Proximal, Decoupled, lambda r: Where(r, biases=True), lambda r: PerStage({"encoder": r, "head": r})])
def test_anchoring_inside_or_outside_is_the_same(penalty: Regularizer, route: Any) -> None:
    found = (
        [moved(regularizer, some_weights(), adamw) for regularizer in (Anchored(route(penalty)), route(Anchored(penalty)))]
        if ("PerStage" not in repr(route(penalty)))
        else [
            moved(Anchored(route(penalty)), some_weights(), adamw),
            moved(PerStage({"encoder": Anchored(penalty), "head": penalty}), some_weights(), adamw),
        ]
    )
    none = moved(L2(0.0), some_weights(), adamw)
    for name in found[0]:
        assert torch.equal(found[0][name], found[1][name])
    assert not torch.equal(found[0]["conv"], none["conv"])


@pytest.mark.parametrize("pretrained", [(), ("first.bias",)], ids=str)
def test_without_pretrained_weights_there_is_nothing_to_stay_close_to(pretrained: tuple[str, ...]) -> None:
    module = fixed_module(Anchored(L2(0.1)))
    module.network.pretrained = frozenset(pretrained)
    with pytest.raises(ValueError, match="none of these is pretrained"):
        trained(module)


def test_in_a_training_pretrained_weights_stay_closer_than_new_ones() -> None:
    """Anchor as strongly as can be: the encoder is held, and what is new follows the data as without it."""
    module, plain = fixed_module(Anchored(L2(10.0), new=L2(0.0)), momentum, net=Staged), fixed_module(None, momentum, net=Staged)
    module.network.pretrained = frozenset(name for name, _ in module.network.named_parameters() if name.startswith("encoder."))
    start = {name: value.clone() for name, value in module.network.state_dict().items()}
    anchored, free = trained(module, max_epochs=10), trained(plain, max_epochs=10)

    def far(weights: dict[str, Tensor], part: str) -> float:
        return float(
            np.sqrt(sum(float((weights[n] - start[n]).square().sum()) for n in start if n.startswith(part) and n.endswith("weight")))
        )

    assert far(anchored, "encoder.") < 0.3 * far(free, "encoder.")
    assert far(anchored, "segmentation_head.") > 0.7 * far(free, "segmentation_head.")


def test_anchors_are_copies_that_do_not_move() -> None:
    weights = some_weights()
    start = weights["conv"].tensor.detach().clone()
    applied = begin(Anchored(L2(0.1)), weights, 1)
    with torch.no_grad():
        weights["conv"].tensor.zero_()
    (term,) = applied.terms()
    anchor = term.weights["conv"].anchor
    assert anchor is not None
    assert torch.equal(anchor, start)
    assert term.weights["up"].anchor is None
