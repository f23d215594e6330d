"""Which arms can train at all? A study whose arms are the faults that its flags name, beside one that is fine."""

import os
import random
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seglab import CrossEntropy, Regularizer, SegmentationDataModule, SegmentationModule, Shapes, Study, main
from tests.study.tiny_experiment import BecomesNaN, Small


class Given(nn.Module):
    """A network whose output is what `change` makes of logits (N,C,H,W)."""

    def __init__(self, num_classes: int, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.change = nn.Conv2d(3, num_classes, 1), change

    def forward(self, image: Tensor) -> Any:
        return self.change(self.layer(image))


class Fixed(nn.Module):
    """A network that takes images of 16×16 alone."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layer, self.places = nn.Conv2d(3, num_classes, 1), nn.Parameter(torch.zeros(16, 16))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layer(image) + self.places
        return logits


class Value(nn.Module):
    """A loss that is what `change` makes of logits (N,C,H,W)."""

    def __init__(self, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.change = change

    def forward(self, logits: Tensor, mask: Tensor) -> Any:
        return self.change(logits)


class Keeps(SegmentationModule):
    """Saves an object in each checkpoint."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["mine"] = {"seen": datetime.now()}


def lost(key: str) -> Tensor:
    return dict[str, Tensor]()[key]


@dataclass(frozen=True)
class Root(Regularizer):
    """A penalty whose gradient is not a number."""

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return torch.stack([(weight - weight.detach()).square().sum().sqrt() for weight in weights]).sum()


@dataclass(frozen=True)
class Lost(Regularizer):
    """A penalty with a mistake."""

    def penalty(self, weights: Sequence[Tensor]) -> Tensor:
        return lost("penalty")


def stop(logits: Tensor) -> Tensor:
    os.kill(os.getpid(), signal.SIGINT)
    return logits


def draw(logits: Tensor) -> Tensor:
    return logits + random.random() + torch.rand(())


def many(logits: Tensor) -> Tensor:
    """Not a number for fewer than three images."""
    return logits.mean() * (1.0 if len(logits) > 2 else float("nan"))


def only_in_training(logits: Tensor) -> Tensor:
    return logits.mean() if logits.requires_grad else lost("evaluation")


def broken_optimizer(parameters: Iterable[Any]) -> Optimizer:
    raise KeyError("optimizer")


def networks(classes: int) -> dict[str, Callable[[], nn.Module]]:
    from seglab import network

    return {
        "dict": lambda: Given(classes, lambda logits: {"out": logits, "aux": logits}),
        "tuple": lambda: Given(classes, lambda logits: (logits, logits)),
        "none": lambda: Given(classes, lambda logits: None),
        "vector": lambda: Given(classes, lambda logits: logits.mean((2, 3))),
        "half": lambda: Given(classes, lambda logits: logits[..., ::2, ::2]),
        "classes": lambda: Given(classes + 2, lambda logits: logits),
        "stop": lambda: Given(classes, stop),
        "draws": lambda: Given(classes, draw),
        "channels": lambda: nn.Sequential(nn.Conv2d(4, classes, 1)),
        "smp channels": lambda: network("Unet", num_classes=classes, in_channels=4),
        "fixed": lambda: Fixed(classes),
        "weights": lambda: network("Unet", num_classes=classes, weights="nowhere.pth"),
        "pan": lambda: network("PAN", num_classes=classes),
        "deeplab": lambda: network("DeepLabV3", num_classes=classes),
        "swin": lambda: network("Unet", "tu-swin_tiny_patch4_window7_224", num_classes=classes),
        "dpt": lambda: network("DPT", "tu-vit_tiny_patch16_224", num_classes=classes),
    }


LOSSES: dict[str, Callable[[], nn.Module]] = {
    "nan": lambda: Value(lambda logits: logits.mean() * float("nan")),
    "nan gradient": lambda: Value(lambda logits: (logits - logits.detach()).mean().sqrt()),
    "raises": lambda: Value(lambda logits: lost("raises")),
    "also raises": lambda: Value(lambda logits: lost("raises")),
    "pixels": lambda: Value(lambda logits: logits.mean(1)),
    "constant": lambda: Value(lambda logits: logits.detach().mean()),
    "evaluation": lambda: Value(only_in_training),
    "many": lambda: Value(many),
    "gpu": lambda: Value(lambda logits: logits.cuda().mean()),
    "later": BecomesNaN,
}
OTHERS: dict[str, dict[str, Any]] = {
    "mean": {"mean": (0.5, 0.5), "std": (0.5, 0.5)},
    "penalty": {"regularizer": Lost()},
    "nan penalty": {"regularizer": Root()},
    "optimizer": {"optimizer": broken_optimizer},
}


def study(
    data: SegmentationDataModule = SegmentationDataModule(
        Shapes(num_train=8, num_val=4, num_test=4, image_size=32, num_shapes=3), batch_size=4, num_workers=0
    ),
    faults: list[str] = [],  # noqa: B006 - a flag's default
    seeds: int = 1,
) -> Study:
    def arm(fault: str) -> Callable[[], SegmentationModule]:
        classes = data.num_classes + {"fewer": -1, "more": 1}.get(fault, 0)
        make = networks(classes).get(fault, partial(Small, classes, 0.1))
        loss = LOSSES.get(fault, CrossEntropy)
        kind = Keeps if fault == "objects" else SegmentationModule
        return lambda: kind(make(), loss(), num_classes=classes, **OTHERS.get(fault, {}))

    arms = {name.replace(" ", "-"): arm(name) for name in ("fine", *faults)}
    return Study("faulty", data=data, epochs=1, seeds=range(seeds), baseline="fine", arms=arms)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(study)
