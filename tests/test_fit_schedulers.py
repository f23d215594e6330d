"""`seglab fit` with schedulers by class path: logged rates are torch's own, and failures are refused in one line."""

import csv
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.nets import momentum
from tests.schedulers import SCHEDULERS, Case
from tests.study.scripts import seglab

MINE = """
from torch import nn
from tests.schedulers import chained, decay, shrink, warmed_up

class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1))

    def forward(self, image):
        return self.layers(image)
"""

CONFIG = """
model:
  network: {class_path: mine.Network}
  optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.05, momentum: 0.9}}
data:
  source: {class_path: seglab.Shapes, init_args: {num_train: 12, num_val: 4, num_test: 4, image_size: 16, num_shapes: 3}}
  batch_size: 4
  num_workers: 0
trainer: {max_epochs: 4, log_every_n_steps: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false, logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: runs/fit, name: ""}}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


def rates(case: Case, updates: int, every: int = 1) -> list[float]:
    """The learning rate of each of twelve steps, by torch alone."""
    optimizer = momentum([nn.Parameter(torch.zeros(1))])
    scheduler, found = case.by_hand(optimizer, updates), []
    for step in range(1, 13):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if step % every == 0:
            scheduler.step()
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "interval"),
    [
        ("StepLR", "step"),
        *(
            pytest.param(name, "step", marks=pytest.mark.weekly)
            for name in ("OneCycleLR", "PolynomialLR", "PolynomialLR, length", "LambdaLR", "SequentialLR")
        ),
        *(pytest.param(name, "epoch", marks=pytest.mark.weekly) for name in ("CosineAnnealingLR", "MultiStepLR")),
    ],
)
def test_the_logged_rates_are_torch_s(name: str, interval: str, project: Path) -> None:
    """In a first training, and in a second from the configuration that the first has saved."""
    words = ["fit", "--config", "c.yaml", *SCHEDULERS[name].flags("model.scheduler"), "--model.scheduler_interval", interval]
    every = 3 if interval == "epoch" else 1
    for version, given in enumerate((words, ["fit", "--config", "runs/fit/version_0/config.yaml"])):
        code, printed = seglab(*given, cwd=project)
        assert code == 0, printed
        assert "learning rate: " in printed
        with (project / "runs" / "fit" / f"version_{version}" / "metrics.csv").open() as file:
            logged = [float(row["stage/network/lr"]) for row in csv.DictReader(file) if row["stage/network/lr"]]
        assert logged == pytest.approx(rates(SCHEDULERS[name], 12 // every, every), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model.scheduler", "OneCycleLR"], "OneCycleLR needs max_lr: --model.scheduler.max_lr VALUE"),
        (
            ["--model.scheduler", "CyclicLR", "--model.scheduler.base_lr", "0.1"],
            "CyclicLR needs max_lr; add --model.scheduler.max_lr VALUE",
        ),
        (["--model.scheduler", "ChainedScheduler"], "give the function: scheduler=my_scheduler, --model.scheduler my_file.my_scheduler"),
        (["--model.scheduler", "StepLR", "--model.scheduler.step_size", "0"], "StepLR fails at optimizer step 0 of 12: ZeroDivisionError"),
        (
            ["--model.scheduler", "ReduceLROnPlateau"],
            "several classes are named ReduceLROnPlateau; type one of torch.optim.lr_scheduler.ReduceLROnPlateau, ",
        ),
        (["--lr_scheduler", "StepLR"], "there is no flag --lr_scheduler of `fit` (did you mean --model.scheduler?)"),
        (["--optimizer", "SGD"], "there is no flag --optimizer of `fit` (did you mean --model.optimizer?)"),
    ],
)
def test_refused_in_one_line(words: list[str], expected: str, project: Path) -> None:
    code, printed = seglab("fit", "--config", "c.yaml", *words, cwd=project)
    assert code == 2, printed
    (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert expected in line
    assert "Traceback" not in printed
