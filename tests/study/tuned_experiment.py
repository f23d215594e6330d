"""Does L2 help, each arm at its own best learning rate?

A tuned study of seconds; one of the settings of L2 diverges.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from seglab import L2, CrossEntropy, Regularizer, SegmentationDataModule, SegmentationModule, Shapes, Study, main
from seglab.study.arms import Tuned
from tests.study.tiny_experiment import BecomesNaN, Small


def study(
    data: SegmentationDataModule = SegmentationDataModule(
        Shapes(num_train=8, num_val=4, num_test=4, image_size=32, num_shapes=3), batch_size=4, num_workers=0
    ),
    epochs: int = 2,
    seeds: int = 1,
    rate: float = 0.01,
    hopeless: bool = False,
    third: bool = False,
    tunings: int = 1,
) -> Study:
    def arm(lr: float, regularizer: Regularizer | None, loss: Callable[[], nn.Module] = CrossEntropy) -> Callable[[], SegmentationModule]:
        def adam(parameters: Iterable[Any]) -> Optimizer:
            return torch.optim.Adam(parameters, lr=lr)

        return lambda: SegmentationModule(
            Small(data.num_classes, 0.1), loss(), num_classes=data.num_classes, regularizer=regularizer, optimizer=adam
        )

    none = {"lr=1e-4": arm(1e-4, None), "lr=1e-2": arm(rate, None)}
    l2 = {"lr=1e-2": arm(rate, L2(1e-3), BecomesNaN if hopeless else CrossEntropy), "lr=1e9": arm(1e-3, L2(1e-3), BecomesNaN)}
    if third:
        none["lr=1"] = arm(1.0, None)
        l2["lr=1"] = arm(1.0, L2(1e-3))
    return Study(
        "tuned",
        data=data,
        epochs=epochs,
        seeds=range(seeds),
        baseline="none",
        tuning_seeds=(1000, 1001),
        final_round=0,
        tunings=tunings,
        arms={"none": Tuned(none), "l2": Tuned(l2)},
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(study)
