"""Which learning rate? A study of short runs, and the same training by hand: what `python -m tests.benchmarks study` compares."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jsonargparse import lazy_instance
from torch.optim import Optimizer
from torch.optim.lr_scheduler import PolynomialLR

from seglab import CrossEntropy, SegmentationDataModule, SegmentationModule, Shapes, Study, main, unet

RATES = {"low": 3e-4, "middle": 1e-3, "high": 3e-3}


def study(
    data: SegmentationDataModule = lazy_instance(Shapes, num_workers=0),
    encoder: str = "resnet18",
    epochs: int = 4,
    seeds: int = 4,
) -> Study:
    def arm(rate: float) -> Callable[[], SegmentationModule]:
        def adamw(parameters: Iterable[Any]) -> Optimizer:
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)

        return lambda: SegmentationModule(
            unet(encoder, data.num_classes), CrossEntropy(), num_classes=data.num_classes, optimizer=adamw, scheduler=PolynomialLR
        )

    return Study(
        "rates", data=data, epochs=epochs, seeds=range(seeds), baseline="middle", arms={name: arm(rate) for name, rate in RATES.items()}
    )


if __name__ == "__main__":
    main(study)
