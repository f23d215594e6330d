"""A user's own penalty of five lines, in a file of their own: from the command line, and in every wrapper."""

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
import yaml
from hypothesis import given, settings
from torch import Tensor

from seglab import cli, tracking
from seglab.regularizers import L2, Anchored, Constant, Decoupled, PerStage, Proximal, Regularizer, Relative, Scheduled, Sum, Where
from tests.nets import Staged, adamw, fixed_module, trained
from tests.regularizers.toys import drawn_weights, moved, some_weights


@dataclass(frozen=True)
class Cauchy(Regularizer):
    strength: float

    def penalty(self, weights: Any) -> Tensor:
        total: Tensor = self.strength * torch.stack([torch.log1p((weight / 0.1) ** 2).sum() for weight in weights]).sum()
        return total


WRAPPED = [
    Cauchy(0.01),
    Decoupled(Cauchy(0.05)),
    Anchored(Cauchy(0.01)),
    Anchored(L2(0.1), new=Cauchy(0.01)),
    PerStage({"encoder": Cauchy(0.01), "head": Decoupled(Cauchy(0.05))}),
    Scheduled(Cauchy(0.02), Constant(0.5)),
    Sum([Cauchy(0.01), L2(0.1), Decoupled(Cauchy(0.05))]),
    Relative(Cauchy(1.0), 0.3, after=0.0, steps=1),
    Where(Cauchy(0.01), biases=True),
]


@pytest.mark.parametrize("regularizer", WRAPPED, ids=repr)
def test_it_trains_in_every_wrapper_in_mixed_precision(regularizer: Regularizer) -> None:
    found = []
    for this in (regularizer, None):
        module = fixed_module(this, adamw, net=Staged)
        module.network.pretrained = frozenset(name for name, _ in module.network.named_parameters() if name.startswith("encoder."))
        found.append(trained(module, precision="bf16-mixed", accumulate_grad_batches=3, max_epochs=4))
    assert all(bool(value.isfinite().all()) for value in found[0].values())
    assert max(float((value - found[1][name]).abs().max()) for name, value in found[0].items()) > 1e-3


@given(weights=drawn_weights(smallest=-8, largest=3))
@settings(max_examples=40, deadline=None)
def test_its_gradient_comes_by_itself(weights: list[Tensor]) -> None:
    for gradient, weight in zip(Cauchy(0.3).gradient(weights), weights, strict=True):
        torch.testing.assert_close(gradient, 0.6 * weight / (0.01 + weight**2), rtol=1e-9, atol=1e-300)


def test_its_weights_come_with_filters_first_and_from_the_anchor() -> None:
    seen: list[list[Tensor]] = []

    class Curious(Cauchy):
        def penalty(self, weights: Any) -> Tensor:
            seen.append([weight.detach().clone() for weight in weights])
            return super().penalty(weights)

    weights = some_weights()
    start = {name: weight.tensor.detach().clone() for name, weight in weights.items()}
    moved(Anchored(Curious(0.01)), weights, adamw, steps=1)
    shapes = [tuple(weight.shape) for weight in seen[0]]
    assert sorted(shapes) == sorted([(6, 3, 3, 3), (5, 4, 3, 3), (7, 4, 2, 2), (3, 7)])
    for weight in seen[0]:
        expected = {(7, 4, 2, 2): start["up"].transpose(0, 1), (3, 7): start["linear"]}.get(tuple(weight.shape), torch.zeros(weight.shape))
        assert torch.equal(weight, expected)


def test_without_a_prox_it_cannot_be_proximal() -> None:
    with pytest.raises(ValueError, match="Cauchy has no proximal operator; write its `prox`"):
        Proximal(Cauchy(0.1))


def test_with_a_prox_written_in_the_same_file_it_can() -> None:
    class Ridge(Cauchy):
        def penalty(self, weights: Any) -> Tensor:
            total: Tensor = 0.5 * self.strength * sum((weight**2).sum() for weight in weights)
            return total

        def prox(self, weights: Any, step: Any) -> None:
            for weight, t in zip(weights, step, strict=True):
                weight /= 1 + self.strength * t

    for ours, theirs in ((Proximal(Ridge(0.3)), Proximal(L2(0.3))), (Anchored(Proximal(Ridge(0.3))), Proximal(Anchored(L2(0.3))))):
        expected = moved(theirs, some_weights(), adamw)
        for name, value in moved(ours, some_weights(), adamw).items():
            torch.testing.assert_close(value, expected[name])


MINE = """
from dataclasses import dataclass
import torch
from torch import nn
from seglab.regularizers import Regularizer

@dataclass(frozen=True)
class Cauchy(Regularizer):
    strength: float
    def penalty(self, weights):
        return self.strength * torch.stack([torch.log1p((weight / 0.1) ** 2).sum() for weight in weights]).sum()

class Network(nn.Module):
    def __init__(self, num_classes: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, num_classes, 1))
        self.pretrained = frozenset(["layers.0.weight"])
    def forward(self, image):
        return self.layers(image)
"""

CAUCHY = {"class_path": "mine.Cauchy", "init_args": {"strength": 1e-3}}


def wrapped(name: str, inner: Any = CAUCHY, **more: Any) -> dict[str, Any]:
    return {"class_path": f"seglab.regularizers.{name}", "init_args": {"inner": inner, **more}}


EVERYTHING = {
    "class_path": "seglab.regularizers.Sum",
    "init_args": {
        "summands": [
            wrapped("Relative", ratio=0.1, after=0.0, steps=1),
            wrapped("Decoupled", wrapped("Where", biases=True)),
            wrapped("Anchored", new=CAUCHY),
            wrapped("Scheduled", factor={"class_path": "seglab.regularizers.LinearWarmup", "init_args": {"fraction": 0.5}}),
            {"class_path": "seglab.regularizers.PerStage", "init_args": {"stages": {"network": CAUCHY}}},
        ]
    },
}


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`seglab fit` in this process, in a folder that holds the user's file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine.py").write_text(MINE)

    def fit(*words: str, **model: Any) -> list[dict[str, str]]:
        config = {
            "model": {"network": {"class_path": "mine.Network", "init_args": {"num_classes": 4}}, **model},
            "data": {
                "source": {
                    "class_path": "seglab.Shapes",
                    "init_args": {"num_train": 8, "num_val": 4, "num_test": 4, "image_size": 32, "num_shapes": 3},
                },
                "batch_size": 4,
                "num_workers": 0,
            },
            "trainer": {
                "max_epochs": 2,
                "accelerator": "cpu",
                "precision": "bf16-mixed",
                "log_every_n_steps": 1,
                "enable_progress_bar": False,
                "enable_model_summary": False,
            },
        }
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
        monkeypatch.setattr(sys, "argv", ["seglab", "fit", "--config", "c.yaml", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        with (tmp_path / "runs" / "fit" / "version_0" / "metrics.csv").open() as file:
            return list(csv.DictReader(file))

    yield fit
    tracking.finish()
    wandb.teardown()  # else the processes of later tests log through this one's service, relative to its folder
    sys.modules.pop("mine", None)


jsonargparse_names = pytest.mark.filterwarnings(
    r"ignore:[\s\S]*(JSONARGPARSE_DEPRECATION|deprecated in v4)"
)  # Lightning 2.6 calls old ones


@pytest.mark.slow
@jsonargparse_names
def test_it_is_named_on_the_command_line(command: Any) -> None:
    rows = command("--model.regularizer", "mine.Cauchy", "--model.regularizer.strength", "1e-3")
    assert [float(row["train/penalty"]) > 0 for row in rows if row["train/penalty"]] == [True] * 4


@jsonargparse_names
def test_every_wrapper_around_it_is_described_in_a_file(command: Any) -> None:
    rows = command(regularizer=EVERYTHING)
    logged = [row for row in rows if row["train/penalty"]]
    assert len(logged) == 4
    factors = [[float(row[f"train/penalty_factor/{place}"]) for row in logged] for place in range(6)]
    assert factors[4] == pytest.approx([0.0, 0.5, 1.0, 1.0]), "the warm-up"
    assert factors[0][0] > 0, "measured in the first step"
    assert [factors[place] for place in (1, 2, 3, 5)] == [[1.0] * 4] * 4
