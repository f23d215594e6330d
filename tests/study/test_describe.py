"""Two arms that can give different numbers have different descriptions; the same arm has the same in every process."""

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, PolynomialLR

from seglab import (
    L1,
    L2,
    CrossEntropy,
    Proximal,
    Regularizer,
    Scheduled,
    SegmentationDataModule,
    SegmentationModule,
    Shapes,
    SmoothL1,
    Sum,
    unet,
)
from seglab.freezing import LPFT, FreezeSchedule, FrozenEncoder, FullFineTuning, LayerwiseDecay, Product
from seglab.stage import Progress, Stage
from seglab.study.arms import Arm
from seglab.study.description import describe
from seglab.study.differences import differences
from seglab.study.identity import planned
from seglab.study.study import Study
from tests.study.described import plain

ENCODER = "tu-test_resnet"
START = {name: torch.ones_like(value) for name, value in unet(ENCODER, 4).state_dict().items()}


class Hidden(nn.Module):
    """A loss whose setting is private, a tensor, or a function."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self._value = value

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return logits.mean()


class OwnPenalty(Regularizer):
    """Not a dataclass."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def penalty(self, weights: Any) -> Tensor:
        penalty: Tensor = self.strength * weights[0].sum()
        return penalty


class Net(nn.Module):
    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.conv(image) * self.k
        return logits


class WithOwnSetting(SegmentationModule):
    temperature = 1.0

    def __init__(self, temperature: float) -> None:
        super().__init__(Net(1), CrossEntropy(), num_classes=4)
        self.temperature = temperature


def arm(network: Callable[[], nn.Module] = lambda: Net(1), loss: Callable[[], nn.Module] = CrossEntropy, **settings: Any) -> Arm:
    return lambda: SegmentationModule(network(), loss(), num_classes=4, **settings)


def loaded() -> nn.Module:
    network = unet(ENCODER, 4)
    network.load_state_dict(START)
    return network


def quiet_norm() -> nn.Module:
    network = unet(ENCODER, 4)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.01
    return network


def by_stage(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD([{**group, "lr": 1e-3 if group["name"] == "head" else 1e-5} for group in groups], lr=0.1)


def warm_up(steps: int) -> Callable[[Any, int], Any]:
    return lambda optimizer, total: LinearLR(optimizer, 0.1, total_iters=steps)


def drop_at(step: int) -> Callable[[Any, int], Any]:
    return lambda optimizer, total: LambdaLR(optimizer, lambda now: 1.0 if now < step else 0.1)


def same_named(factor: float) -> FreezeSchedule:
    """Two classes of one name whose code differs, as before and after an edit."""

    class Own(FreezeSchedule):
        def lr_scale(self, stage: Stage, progress: Progress) -> float:
            return factor

    return Own()


def changed(change: Callable[[Net], object]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        network = Net(1)
        change(network)
        return network

    return build


class Weighted(nn.Module):
    def __init__(self, start: float) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.full((2,), start))

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return logits.mean() * self.log_variance.sum()


class OwnSGD(torch.optim.SGD):
    def __init__(self, groups: Any, alpha: float) -> None:
        super().__init__(groups, lr=0.1)
        self.alpha = alpha


def decayed(dims: int) -> Callable[[Any], torch.optim.Optimizer]:
    def optimizer(groups: Any) -> torch.optim.Optimizer:
        parameters = [parameter for group in groups for parameter in group["params"]]
        large = [parameter for parameter in parameters if parameter.ndim > dims]
        small = [parameter for parameter in parameters if parameter.ndim <= dims]
        split: list[dict[str, Any]] = [{"params": large, "weight_decay": 1e-4}, {"params": small}]
        return torch.optim.SGD(split, lr=0.1)

    return optimizer


PAIRS: dict[str, tuple[Arm, Arm]] = {
    "strength": (arm(regularizer=L2(1e-3)), arm(regularizer=L2(2e-3))),
    "numpy strength": (arm(regularizer=L2(np.float32(1e-3))), arm(regularizer=L2(np.float32(1e-1)))),  # type: ignore[arg-type]
    "penalty": (arm(regularizer=L1(1e-3)), arm(regularizer=Proximal(L1(1e-3)))),
    "width": (arm(regularizer=SmoothL1(1e-3, kappa=0.5)), arm(regularizer=SmoothL1(1e-3, beta=0.5))),
    "own penalty": (arm(regularizer=OwnPenalty(1e-3)), arm(regularizer=OwnPenalty(1e-2))),
    "schedule": (arm(freeze=FullFineTuning(0.1)), arm(freeze=FrozenEncoder())),
    "setting of a schedule": (arm(freeze=Product([LPFT(0.1), LayerwiseDecay(0.5)])), arm(freeze=Product([LPFT(0.2), LayerwiseDecay(0.5)]))),
    "code of a schedule": (arm(freeze=same_named(0.5)), arm(freeze=same_named(0.25))),
    "private setting of a loss": (arm(loss=lambda: Hidden(1)), arm(loss=lambda: Hidden(2))),
    "tensor in a loss": (arm(loss=lambda: Hidden(torch.zeros(100))), arm(loss=lambda: Hidden(torch.ones(100)))),
    "partial in a loss": (arm(loss=lambda: Hidden(functools.partial(max, 1))), arm(loss=lambda: Hidden(functools.partial(max, 2)))),
    "class weights": (arm(loss=lambda: CrossEntropy(weight=[1, 1, 1, 1])), arm(loss=lambda: CrossEntropy(weight=[1, 1, 1, 2]))),
    "setting of a network": (arm(lambda: Net(1)), arm(lambda: Net(100))),
    "start weights": (arm(lambda: unet(ENCODER, 4)), arm(loaded)),
    "momentum of norm layers": (arm(lambda: unet(ENCODER, 4)), arm(quiet_norm)),
    "encoder": (arm(lambda: unet(ENCODER, 4)), arm(lambda: unet("tu-test_efficientnet", 4))),
    "rate by stage": (
        arm(lambda: unet(ENCODER, 4), optimizer=by_stage),
        arm(lambda: unet(ENCODER, 4), optimizer=lambda g: torch.optim.SGD(g, lr=1e-3)),
    ),
    "warm-up": (arm(scheduler=warm_up(5)), arm(scheduler=warm_up(8))),
    "drop": (arm(scheduler=drop_at(150)), arm(scheduler=drop_at(180))),
    "kind of decay": (arm(scheduler=PolynomialLR), arm(scheduler=CosineAnnealingLR)),
    "setting of a module": (lambda: WithOwnSetting(1.0), lambda: WithOwnSetting(2.0)),
    "frozen by hand": (arm(), arm(changed(lambda network: network.requires_grad_(False)))),
    "hook": (arm(), arm(changed(lambda network: network.register_forward_hook(lambda module, given, out: out * 2)))),
    "forward of a layer": (arm(), arm(changed(lambda network: setattr(network.conv, "forward", lambda image: image)))),
    "parameters of a loss": (arm(loss=lambda: Weighted(0.0)), arm(loss=lambda: Weighted(1.0))),
    "parameters of a group": (arm(optimizer=decayed(0)), arm(optimizer=decayed(1))),
    "attribute of an optimizer": (arm(optimizer=lambda groups: OwnSGD(groups, 1.0)), arm(optimizer=lambda groups: OwnSGD(groups, 2.0))),
    "mean": (arm(mean=(0.5,)), arm(mean=(0.4,))),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_changes_numbers_changes_the_description(name: str) -> None:
    one, other = PAIRS[name]
    assert differences(describe(one, Progress(0, 200, 10)), describe(other, Progress(0, 200, 10)))
    assert not differences(describe(one, Progress(0, 200, 10)), describe(one, Progress(0, 200, 10)))


def test_a_description_is_json_and_the_same_after_it() -> None:
    for one, _ in PAIRS.values():
        described = describe(one, Progress(0, 50, 10))
        assert not differences(json.loads(json.dumps(described, allow_nan=False)), described)


def test_a_plateau_is_described_without_infinities() -> None:
    described = describe(arm(scheduler=lambda optimizer, steps: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)), Progress(0, 50, 10))
    text = json.dumps(described, allow_nan=False)  # raises for an infinity
    assert "ReduceLROnPlateau" in text
    assert '"patience": 10' in text


def test_a_description_holds_no_addresses() -> None:
    text = (
        json.dumps(describe(arm(loss=lambda: Hidden(object())), Progress(0, 10, 10)))
        + json.dumps(plain(lambda: 1))
        + json.dumps(plain(A.Lambda(name="f", image=abs)))
    )
    assert "0x" not in text


def test_a_network_built_outside_of_its_arm_is_refused() -> None:
    network = Net(1)
    with pytest.raises(ValueError, match="build the network inside the arm"):
        describe(arm(lambda: network), Progress(0, 10, 10))


def test_describing_draws_nothing() -> None:
    torch.manual_seed(0)
    describe(arm(), Progress(0, 10, 10))
    after = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(3))


@pytest.mark.slow
def test_another_process_describes_the_same() -> None:
    code = (
        "import json; import tests.study.test_describe as t; from seglab.study.description import describe; from seglab.stage import Progress;"
        "print(json.dumps({name: describe(pair[0], Progress(0, 20, 10)) for name, pair in t.PAIRS.items()}))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout
    assert json.loads(told) == {name: describe(pair[0], Progress(0, 20, 10)) for name, pair in PAIRS.items()}


def test_data_of_the_same_length_differ() -> None:
    assert SegmentationDataModule(Shapes(num_train=4)).identity() != SegmentationDataModule(Shapes(num_train=4, noise=0.1)).identity()


def test_defaults_of_a_function_are_its_settings() -> None:
    """The usual way to make functions in a loop."""
    factors: list[Any] = [lambda progress, s=s: s * progress.fraction for s in (1.0, 5.0)]
    one, other = ([Scheduled(L2(1e-4), factor)] for factor in factors)
    assert differences(plain(one), plain(other))
    assert not differences(plain(one), plain(one))


def test_what_is_nested_deep_is_described() -> None:
    def deep(strength: float) -> Regularizer:
        found: Regularizer = L2(strength)
        for _ in range(12):
            found = Sum([found])
        return found

    assert differences(plain(deep(1e-4)), plain(deep(1e-2)))


def test_the_planned_steps_count_a_ragged_window() -> None:
    data = SegmentationDataModule(Shapes(num_train=24, num_val=2, num_test=2, image_size=32), batch_size=8, num_workers=0)
    study = Study("s", data=data, epochs=5, seeds=[0], baseline="a", arms={"a": arm(), "b": arm()}, accumulate=2)
    assert planned(study) == Progress(0, 10, 2)
