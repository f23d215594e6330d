"""On a GPU a penalty never makes the processor wait for it."""

from collections.abc import Iterator

import pytest
import torch

from seglab.regularizers import (
    L1,
    L2,
    Anchored,
    Decoupled,
    ElasticNet,
    FixedNorm,
    GroupLasso,
    HoyerSquare,
    OptimizerStepSizes,
    Orthogonality,
    Proximal,
    Regularizer,
    SmoothL1,
    Spectral,
    Sum,
)
from seglab.stage import Progress
from tests.nets import fixed_module

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

REGULARIZERS: list[Regularizer] = [
    L2(0.1),
    Proximal(L1(0.1)),
    Proximal(ElasticNet(0.1, 0.1)),
    Proximal(SmoothL1(0.1, kappa=0.5), preconditioned=False),
    Proximal(SmoothL1(0.1, kappa=0.5)),
    Proximal(GroupLasso(0.1)),
    Decoupled(HoyerSquare(0.1)),
    Orthogonality(0.1),
    Spectral(0.1),
    Sum([Anchored(L2(0.1)), FixedNorm()]),
]


@pytest.fixture
def waiting_is_an_error() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
@pytest.mark.usefixtures("waiting_is_an_error")
def test_a_step_waits_for_nothing(regularizer: Regularizer) -> None:
    module = fixed_module(regularizer)
    module.network.pretrained = frozenset(["first.weight"])
    applied = regularizer.bind(module.weights())
    module.cuda()
    applied.start(10)
    optimizer = torch.optim.AdamW(module.network.parameters(), lr=0.1, weight_decay=0.0)
    before = module.network.first.weight.detach().clone()
    for _ in range(2):  # the second time nothing is made for the first time
        for parameter in module.network.parameters():
            parameter.grad = torch.ones_like(parameter)
        torch.cuda.set_sync_debug_mode("error")
        applied.observe(Progress(0, 1, 1))
        applied.before_update(Progress(0, 1, 1))
        applied.decouple(OptimizerStepSizes(optimizer))
        torch.cuda.set_sync_debug_mode("default")
        optimizer.step()
        torch.cuda.set_sync_debug_mode("error")
        applied.after_update(OptimizerStepSizes(optimizer))
        torch.cuda.set_sync_debug_mode("default")
    assert not torch.equal(module.network.first.weight, before)
