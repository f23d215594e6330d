"""Which learning rate?

A study of short runs, which `python -m tests.benchmarks study` compares with the same by hand (`short_by_hand.py`).
"""

from collections.abc import Callable, Iterable
from typing import Any

from seglab import CrossEntropy, SegmentationDataModule, SegmentationModule, Shapes, Study, main, unet  # isort: split

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import PolynomialLR

ENCODER, EPOCHS, RATE = "tu-mobilenetv3_small_050", 4, 1e-3
DATA = SegmentationDataModule(Shapes(image_size=48), num_workers=0)


def study(
    data: SegmentationDataModule = DATA,
    encoder: str = ENCODER,
    epochs: int = EPOCHS,
    seeds: int = 4,
    rates: int = 3,
) -> Study:
    def arm(rate: float) -> Callable[[], SegmentationModule]:
        def adamw(parameters: Iterable[Any]) -> Optimizer:
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)

        return lambda: SegmentationModule(
            unet(encoder, data.num_classes), CrossEntropy(), num_classes=data.num_classes, optimizer=adamw, scheduler=PolynomialLR
        )

    arms = {f"lr-{place}": arm(RATE * 1.1**place) for place in range(rates)}
    return Study("rates", data=data, epochs=epochs, seeds=range(seeds), baseline="lr-0", arms=arms)


if __name__ == "__main__":
    main(study)
