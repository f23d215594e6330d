"""Classes of a user of `seglab fit`, which its flags name by import path. The tests copy this file into the user's folder."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from seglab import FreezeSchedule, SegmentationSource, Shapes
from seglab.stage import Progress, Stage


class Network(nn.Module):
    """Draws (dropout) and remembers (batch norm)."""

    def __init__(self, num_classes: int = 4, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(width, num_classes, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(image)
        return logits


class Unpacks(nn.Module):
    """A loss with a mistake."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        first, second = logits[:1]
        difference: Tensor = first - second
        return difference.mean()


class FailsInTheMiddle(nn.Module):
    """A loss that fails at its fifth step."""

    calls = 0

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        self.calls += self.training
        if self.calls == 5:
            raise KeyError("middle")
        return logits.square().mean()


class Refuses(nn.Module):
    """A network whose construction fails."""

    def __init__(self) -> None:
        raise RuntimeError("no such thing\nand a second line")


class BecomesNaN(nn.Module):
    """A loss that is fine twice, and then is not a number."""

    calls = 0

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        self.calls += 1
        return logits.mean() * (float("nan") if self.calls > 2 else 1.0)


@dataclass(frozen=True)
class Nameless(SegmentationSource):
    def split(self, name: Any) -> Any:
        return Shapes(num_train=12, num_val=4, num_test=4, image_size=16, num_shapes=3).split(name)


@dataclass(frozen=True)
class Wrong(SegmentationSource):
    """A data set whose second sample fails."""

    class_names = ("background", "a", "b", "c")

    def split(self, name: Any) -> Any:
        return _Failing(Shapes(num_train=12, num_val=4, num_test=4, image_size=16, num_shapes=3).split(name))


class _Failing:
    def __init__(self, inner: Any) -> None:
        self.inner, self.num_classes = inner, inner.num_classes

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Any:
        return {"a": 1}["b"] if index == 1 else self.inner[index]


class Logs(Callback):
    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pl_module.log("mine/own", 1.0)


@dataclass(frozen=True)
class SlowStart(FreezeSchedule):
    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return min(1.0, 0.25 + progress.fraction)


class Signalled(Callback):
    """Sends this process the signals in `DIE_BY` after the step in `DIE_AT`, `epoch:batch` for a batch of a validation."""

    def __init__(self) -> None:
        self.at, self.by = os.environ.get("DIE_AT", ""), os.environ.get("DIE_BY", "SIGTERM").split()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.at == str(trainer.global_step) and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self.send()

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if self.at == f"{trainer.current_epoch}:{_[2]}":
            self.send()

    def on_test_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if self.at == "test":
            self.send()

    def send(self) -> None:
        for name in self.by:
            os.kill(os.getpid(), getattr(signal, name))


def half(step: int) -> float:
    return 0.5 ** (step // 4)


Made = Callable[[Optimizer, int], LRScheduler]


def constant(optimizer: Optimizer, steps: int) -> LRScheduler:
    return ConstantLR(optimizer, 0.3, 4)


def linear(optimizer: Optimizer, steps: int) -> LRScheduler:
    return LinearLR(optimizer, 0.2, 1.0, 7)


def by_steps(optimizer: Optimizer, steps: int) -> LRScheduler:
    return StepLR(optimizer, 3, 0.5)


def milestones(optimizer: Optimizer, steps: int) -> LRScheduler:
    return MultiStepLR(optimizer, [2, 7], 0.5)


def exponential(optimizer: Optimizer, steps: int) -> LRScheduler:
    return ExponentialLR(optimizer, 0.9)


def cosine(optimizer: Optimizer, steps: int) -> LRScheduler:
    return CosineAnnealingLR(optimizer, steps)


def restarts(optimizer: Optimizer, steps: int) -> LRScheduler:
    return CosineAnnealingWarmRestarts(optimizer, 4)


def polynomial(optimizer: Optimizer, steps: int) -> LRScheduler:
    return PolynomialLR(optimizer, steps, 0.9)


def one_cycle(optimizer: Optimizer, steps: int) -> LRScheduler:
    return OneCycleLR(optimizer, [group["lr"] * 2 for group in optimizer.param_groups], total_steps=steps)


def cyclic(optimizer: Optimizer, steps: int) -> LRScheduler:
    return CyclicLR(
        optimizer, [group["lr"] / 4 for group in optimizer.param_groups], [g["lr"] for g in optimizer.param_groups], 3, cycle_momentum=False
    )


def multiplicative(optimizer: Optimizer, steps: int) -> LRScheduler:
    return MultiplicativeLR(optimizer, lambda step: 0.95)


def by_function(optimizer: Optimizer, steps: int) -> LRScheduler:
    return LambdaLR(optimizer, half)


def by_closure(optimizer: Optimizer, steps: int) -> LRScheduler:
    return LambdaLR(optimizer, lambda step: 1 - step / steps)


def sequential(optimizer: Optimizer, steps: int) -> LRScheduler:
    return SequentialLR(optimizer, [LinearLR(optimizer, 0.1, 1.0, 4), CosineAnnealingLR(optimizer, steps - 4)], [4])


def chained(optimizer: Optimizer, steps: int) -> LRScheduler:
    return ChainedScheduler([ConstantLR(optimizer, 0.5, 3), ExponentialLR(optimizer, 0.9)], optimizer)


def plateau(optimizer: Optimizer, steps: int) -> LRScheduler:
    return ReduceLROnPlateau(optimizer, "max", 0.5, patience=0, threshold=1.0)


SCHEDULERS: dict[str, bool] = {
    "null": False,
    "constant": False,
    "linear": False,
    "by_steps": False,
    "milestones": False,
    "exponential": False,
    "cosine": True,
    "restarts": False,
    "polynomial": True,
    "one_cycle": True,
    "cyclic": False,
    "multiplicative": False,
    "by_function": False,
    "by_closure": True,
    "sequential": True,
    "chained": False,
    "plateau": False,
}
"""Whether the learning rates of each scheduler, a function of this file, depend on the length of the training."""
