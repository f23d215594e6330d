"""On a step that a gradient scaler skips nothing happens to the weights; afterwards all is as without a scaler."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor

from seglab.losses import CrossEntropy
from seglab.regularizers import (
    L1,
    L2,
    Anchored,
    Decoupled,
    ElasticNet,
    FixedNorm,
    GroupLasso,
    Proximal,
    Regularizer,
    Relative,
    SmoothL1,
    Sum,
)
from tests.nets import Small, adamw, batches, fixed_module, momentum, trained

REGULARIZERS = [
    L2(0.1),
    SmoothL1(0.05, kappa=0.5),
    Proximal(L1(0.02)),
    Proximal(GroupLasso(0.02)),
    Decoupled(ElasticNet(0.02, 0.5)),
    Sum([Decoupled(L2(0.5)), Proximal(L1(0.02)), FixedNorm()]),
    Anchored(Proximal(L1(0.02))),
    Relative(L2(1.0), 0.1, after=0.0, steps=2),
]


class InFullPrecision(Small):
    """Powers of two as scales then change nothing by rounding; overflow still happens, at 2¹²⁸."""

    def forward(self, image: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return super().forward(image.float())


class Loud(CrossEntropy):
    """Sixteen times as large, which overflows at the largest scale."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return 16 * super().forward(logits, mask)


class Watch(Callback):
    """The weights after each batch."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.on_train_batch_end(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: object) -> None:
        self.weights.append({name: parameter.detach().clone() for name, parameter in pl_module.network.named_parameters()})


def scaled(scale: float) -> MixedPrecision:
    return MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10_000))


def module_for(regularizer: Regularizer, optimizer: Any, net: Any) -> Any:
    module = fixed_module(regularizer, optimizer, net=net)
    module.network.norm.momentum = 0.0  # batch statistics of skipped batches would differ, and are not the subject
    module.network.pretrained = frozenset(["first.weight"])
    if net is InFullPrecision:
        module.loss = Loud()
    return module


def still(watch: Watch) -> list[bool]:
    """Return the steps that left every parameter bit-identical."""
    return [all(torch.equal(now[name], then[name]) for name in now) for then, now in pairwise(watch.weights)]


@pytest.mark.parametrize("optimizer", [momentum, adamw])
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
def test_skipped_steps_change_nothing_and_the_rest_is_as_without_a_scaler(regularizer: Regularizer, optimizer: Any) -> None:
    (batch,), watch = batches(1), Watch()
    ours = trained(
        module_for(regularizer, optimizer, InFullPrecision), [batch] * 20, max_epochs=1, plugins=[scaled(2.0**127)], callbacks=[watch]
    )
    count = still(watch).index(False)
    assert 0 < count < 15
    assert not any(still(watch)[count:])
    expected = trained(module_for(regularizer, optimizer, InFullPrecision), [batch] * (20 - count), max_epochs=1)
    for name in expected:
        if "num_batches" not in name:
            torch.testing.assert_close(ours[name], expected[name], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=repr)
def test_half_precision_trains_and_its_overflows_are_skipped(regularizer: Regularizer) -> None:
    (batch,), watch = batches(1), Watch()
    trained(module_for(regularizer, momentum, Small), [batch] * 30, max_epochs=1, plugins=[scaled(2.0**26)], callbacks=[watch])
    assert 0 < still(watch).index(False) < 20
    assert all(bool(tensor.isfinite().all()) for tensor in watch.weights[-1].values())


def test_the_penalty_is_not_scaled() -> None:
    """From gradients scaled by 2¹⁰ the penalty's would be a thousandth."""
    (batch,) = batches(1)
    found = [
        trained(module_for(L2(0.5), momentum, InFullPrecision), [batch] * 5, max_epochs=1, **settings)
        for settings in ({"plugins": [scaled(1024.0)]}, {})
    ]
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-6, atol=1e-8)
