"""Optimizers as objects make torch's own, with the same steps."""

import math

import pytest
import torch
from torch import nn

from seglab import AdamW, CrossEntropy, SegmentationModule


def test_the_steps_are_torch_s() -> None:
    moved = []
    for make in (
        AdamW(0.01, 0.1, (0.8, 0.9), 1e-5),
        lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1, betas=(0.8, 0.9), eps=1e-5),
    ):
        weight = nn.Parameter(torch.linspace(-1, 1, 5))
        optimizer = make([{"params": [weight], "name": "head"}])
        for _ in range(3):
            weight.grad = weight.detach() ** 2
            optimizer.step()
        assert optimizer.param_groups[0]["name"] == "head"
        moved.append(weight.detach().clone())
    assert torch.equal(*moved)
    assert not torch.equal(moved[0], torch.linspace(-1, 1, 5))


def test_a_module_without_one_trains_with_adamw_at_a_thousandth_without_decay() -> None:
    module = SegmentationModule(nn.Conv2d(3, 2, 1), CrossEntropy(), num_classes=2)
    (group,) = module.optimizer(module.parameter_groups()).param_groups
    expected = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1e-3, weight_decay=0.0).param_groups[0]
    assert {name: value for name, value in group.items() if name not in ("params", "name")} == {
        name: value for name, value in expected.items() if name != "params"
    }


@pytest.mark.parametrize("settings", [{"lr": -1.0}, {"lr": math.nan}, {"weight_decay": math.inf}])
def test_what_is_no_rate_is_refused(settings: dict[str, float]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"AdamW: {name} must be a finite number"):
        AdamW(**settings)  # type: ignore[arg-type]
