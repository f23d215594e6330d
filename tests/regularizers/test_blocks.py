"""Working on a few filters at a time gives what working on whole weights gives, whatever lies where in memory."""

from typing import Any

import pytest
import torch
from torch import nn

from seglab.regularizers import L1, L2, Anchored, Decoupled, ElasticNet, GroupLasso, Proximal, Regularizer, SmoothL1, Weight
from seglab.stage import Progress
from tests.regularizers.toys import begin, moved, optimizer_step, some_weights

SEPARABLE = [L1(0.02), L2(0.3), ElasticNet(0.02, 0.3), SmoothL1(0.05, beta=0.1), SmoothL1(0.05, kappa=0.5), GroupLasso(0.02)]
ROUTES: dict[str, Any] = {
    "gradient": lambda penalty: penalty,
    "proximal": Proximal,
    "uniform": lambda penalty: Proximal(penalty, preconditioned=False),
    "decoupled": Decoupled,
    "anchored gradient": Anchored,
    "anchored proximal": lambda penalty: Anchored(Proximal(penalty)),
    "anchored decoupled": lambda penalty: Anchored(Decoupled(penalty)),
}


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=0.05, weight_decay=0.0, amsgrad=True)


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.5)


@pytest.mark.parametrize("optimizer", [adam, sgd])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("penalty", SEPARABLE, ids=repr)
@pytest.mark.parametrize("block", [1, 4, 100])
def test_blocks_give_what_the_whole_gives(
    block: int, penalty: Regularizer, route: str, optimizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    regularizer: Regularizer = ROUTES[route](penalty)
    whole = moved(regularizer, some_weights(), optimizer)
    monkeypatch.setattr("seglab.regularizers.applied.BLOCK", block)
    weights = some_weights()
    blocks = moved(regularizer, weights, optimizer)
    for name in whole:
        torch.testing.assert_close(blocks[name], whole[name], rtol=1e-5, atol=1e-6)
    (term,) = begin(regularizer, weights, 5).terms()
    parts = [part for _, parts in term.works() for part in parts]
    assert len(parts) > len(weights), "nothing was cut"
    assert sum(part.view(part.weight.tensor).numel() for part in parts) == sum(weight.tensor.numel() for weight in weights.values())
    none = moved(L2(0.0), some_weights(), optimizer)
    assert max(float((whole[name] - none[name]).abs().max()) for name in whole) > 1e-4, "the penalty had no effect to compare"


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("penalty", SEPARABLE, ids=repr)
def test_memory_layout_changes_nothing(penalty: Regularizer, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels-last against contiguous, and filters along dimension 1 against the weight turned by hand."""
    monkeypatch.setattr("seglab.regularizers.applied.BLOCK", 30)
    regularizer: Regularizer = ROUTES[route](penalty)
    weights = some_weights()
    plain = {
        "last": weights["last"]._replace(tensor=nn.Parameter(weights["last"].tensor.detach().contiguous())),
        "up": weights["up"]._replace(tensor=nn.Parameter(weights["up"].tensor.detach().transpose(0, 1).contiguous()), transposed=False),
    }
    assert not weights["last"].tensor.is_contiguous()
    odd = {name: weights[name]._replace(pretrained=True) for name in plain}
    regular = {name: weight._replace(pretrained=True) for name, weight in plain.items()}
    found = []
    for these in (odd, regular):
        optimizer = adam([weight.tensor for weight in these.values()])
        applied = begin(regularizer, these, 4)
        for step in range(4):
            for name, weight in these.items():
                shape = some_weights()[name].tensor.shape
                gradient = torch.randn(shape, generator=torch.Generator().manual_seed(step))
                weight.tensor.grad = gradient.transpose(0, 1) if these is regular and name == "up" else gradient
            step_of(applied, optimizer, step)
        found.append({name: weight.tensor.detach() for name, weight in these.items()})
    torch.testing.assert_close(found[0]["last"], found[1]["last"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[0]["up"].transpose(0, 1), found[1]["up"], rtol=1e-5, atol=1e-6)


def step_of(applied: Any, optimizer: torch.optim.Optimizer, step: int) -> None:

    optimizer_step(applied, optimizer, Progress(step, 4, 4))


def test_the_group_lasso_makes_output_filters_zero_on_either_dimension() -> None:
    weights = some_weights()
    for name, dim in (("conv", 0), ("last", 0), ("up", 1), ("linear", 0)):
        weight = weights[name]
        with torch.no_grad():
            weight.tensor.select(dim, 0).mul_(1e-3)
        optimizer = torch.optim.SGD([weight.tensor], lr=0.1)
        applied = begin(Proximal(GroupLasso(0.05)), {name: weight}, 1)
        weight.tensor.grad = torch.zeros_like(weight.tensor)
        step_of(applied, optimizer, 0)
        after = weight.tensor.detach().transpose(0, dim)
        assert [bool(row.any()) for row in after] == [False] + [True] * (len(after) - 1)


def test_numbers_and_vectors_can_be_penalized_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seglab.regularizers.applied.BLOCK", 2)
    for penalty in SEPARABLE:
        number, vector = nn.Parameter(torch.tensor(0.7)), nn.Parameter(torch.linspace(-1, 1, 7))
        weights = {"number": Weight(number, "s", False), "vector": Weight(vector, "s", False)}
        before = [weight.tensor.detach().clone() for weight in weights.values()]
        applied = begin(penalty, weights, 1)
        for weight in weights.values():
            weight.tensor.grad = torch.zeros_like(weight.tensor)
        step_of(applied, torch.optim.SGD([number, vector], lr=1.0), 0)
        (term,) = applied.terms()
        for weight, start, gradient in zip(weights.values(), before, term.regularizer.gradient(before), strict=True):
            torch.testing.assert_close(weight.tensor.detach(), start - gradient)
