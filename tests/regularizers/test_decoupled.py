"""Decoupled decay is the weight decay of torch's AdamW, in real trainings; two decays at once are refused."""

from typing import Any

import pytest
import torch

from seglab.freezing import FreezeSchedule
from seglab.module import SegmentationModule
from seglab.regularizers import (
    L1,
    L2,
    Anchored,
    Decoupled,
    ElasticNet,
    FixedNorm,
    OptimizerStepSizes,
    PerStage,
    Proximal,
    Regularizer,
    Relative,
    Scheduled,
    SmoothL1,
    Sum,
    Where,
)
from seglab.regularizers.scheduled import LinearWarmup
from seglab.stage import Progress, Stage
from tests.nets import Staged, adamw, batches, fixed_module, trained
from tests.regularizers.toys import begin, optimizer_step, some_weights

DECAY = 0.3


class ByStage(FreezeSchedule):
    """A rate of its own for each stage, that changes with the step."""

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return 1.0 / (1 + stage.depth) + 0.1 * (progress.step % 3)


class OnlyWeightsDecay(SegmentationModule):
    """The independent route: torch's own decay, on the weights that a penalty would act on."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        decays = {id(weight.tensor) for weight in self.weights().values() if weight.kind == "weight"}
        groups = []
        for group in super().parameter_groups():
            for decay in (DECAY, 0.0):
                members = [parameter for parameter in group["params"] if (id(parameter) in decays) == (decay > 0)]
                if members:
                    groups.append({**group, "params": members, "weight_decay": decay})
        return groups


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
@pytest.mark.parametrize("freeze", [None, ByStage()], ids=["one rate", "rates by stage"])
def test_decoupled_l2_is_the_decay_of_adamw(precision: str, freeze: FreezeSchedule | None) -> None:
    found = []
    for kind, regularizer in ((SegmentationModule, Decoupled(L2(DECAY))), (OnlyWeightsDecay, None), (SegmentationModule, None)):
        module = fixed_module(regularizer, adamw, net=Staged, kind=kind, freeze=freeze)
        trained(module, batches(20), max_epochs=1, precision=precision)
        found.append({name: parameter.detach().clone() for name, parameter in module.network.named_parameters()})
    ours, torchs, none = found
    rtol, atol = (1e-9, 1e-11) if precision == "64-true" else (1e-4, 1e-5)
    for name in ours:
        torch.testing.assert_close(ours[name], torchs[name], rtol=rtol, atol=atol)
    assert max(float((ours[name] - none[name]).abs().max()) for name in ours) > 1e-2


def test_under_sgd_a_decoupled_step_is_a_step_on_the_penalty_alone() -> None:
    """w ← w − η∇λR(w), then w ← w − ηg: by hand, with L1, whose gradient is ±λ."""
    weight = some_weights()["linear"]
    start, gradient = weight.tensor.detach().clone(), torch.linspace(-1, 1, 21).view(3, 7)
    weight.tensor.grad = gradient.clone()
    optimizer_step(begin(Decoupled(L1(0.5)), {"w": weight}, 1), torch.optim.SGD([weight.tensor], lr=0.1), Progress(0, 1, 1))
    torch.testing.assert_close(weight.tensor.detach(), start - 0.05 * start.sign() - 0.1 * gradient)


def torchs_default(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters)


PENALTIES = [
    L2(1e-4),
    Decoupled(L2(1e-4)),
    Proximal(L2(1e-4)),
    ElasticNet(0.0, 1e-4),
    Sum([L1(1e-4), Scheduled(L2(1e-4), LinearWarmup(0.5))]),
    PerStage({"network": Where(L2(1e-4), biases=True)}),
    Relative(L2(1.0), 0.1, steps=1),
    Anchored(L1(1e-4), new=L2(1e-4)),
    L1(1e-4),
    SmoothL1(1e-4, beta=0.5),
]


@pytest.mark.parametrize("regularizer", PENALTIES, ids=repr)
def test_a_second_decay_is_refused_wherever_the_penalty_is(regularizer: Regularizer) -> None:
    module = fixed_module(regularizer, torchs_default)
    module.network.pretrained = frozenset(["first.weight"])
    with pytest.raises(ValueError, match="allow_double_decay=True"):
        trained(module)
    module.allow_double_decay = True
    trained(module)


@pytest.mark.parametrize("regularizer", [None, FixedNorm()], ids=repr)
def test_one_decay_is_no_second(regularizer: Regularizer | None) -> None:
    after = trained(fixed_module(regularizer, torchs_default))
    assert all(value.isfinite().all() for value in after.values())


def test_an_optimizer_whose_steps_are_not_known_is_refused_before_the_first() -> None:
    """`Relative` would come to its prox only after it has measured."""
    with pytest.raises(ValueError, match="step of each element under NAdam"):
        trained(fixed_module(Relative(Proximal(L1(1.0)), 0.1, steps=1), torch.optim.NAdam))


def test_a_weight_without_a_learning_rate_is_named() -> None:
    weight, other = torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match=r"shape \(3, 2\) is in no parameter group of SGD"):
        OptimizerStepSizes(torch.optim.SGD([other], lr=0.1)).uniform([weight])
