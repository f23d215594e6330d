"""Classes of a user of `seglab fit`, which its flags name by import path.

The tests copy this file into the user's folder.
"""

import os
import signal
from dataclasses import dataclass
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, StepLR

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


class Evaluates(Network):
    """A network that fails in an evaluation."""

    def forward(self, image: Tensor) -> Tensor:
        if not self.training:
            raise KeyError("evaluation")
        return super().forward(image)


class Named(Network):
    """A network whose logits have a name."""

    def forward(self, image: Tensor) -> Tensor:
        return {"out": super().forward(image)}  # type: ignore[return-value]


class NotANumber(nn.Module):
    """A loss that is no number."""

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return logits.mean() * float("nan")


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
        self.inner, self.num_classes, self.class_names = inner, inner.num_classes, inner.class_names

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
    """Sends this process the signals in `DIE_BY` after the step in `DIE_AT`.

    `epoch:batch` stands for a validation batch.
    """

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


def cosine(optimizer: Optimizer, steps: int) -> LRScheduler:
    return CosineAnnealingLR(optimizer, steps)


def by_steps(optimizer: Optimizer, steps: int) -> LRScheduler:
    return StepLR(optimizer, 3, 0.5)


def by_closure(optimizer: Optimizer, steps: int) -> LRScheduler:
    return LambdaLR(optimizer, lambda step: 1 - step / steps)
