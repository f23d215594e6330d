"""A study of seconds, or of as many seconds a step as SECONDS_A_STEP says: time enough to be interrupted. Waiting changes no result."""

import os
import time
from collections.abc import Callable

import torch
from jsonargparse import lazy_instance
from torch import Tensor, nn

from seglab import L2, CrossEntropy, Regularizer, SegmentationDataModule, SegmentationModule, Shapes, Study, main


class SlowCrossEntropy(CrossEntropy):
    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        time.sleep(float(os.environ.get("SECONDS_A_STEP", "0")))
        loss: Tensor = super().forward(logits, mask)
        return loss


def study(
    data: SegmentationDataModule = lazy_instance(
        Shapes, num_train=16, num_val=2, num_test=2, image_size=16, num_shapes=2, batch_size=2, num_workers=0
    ),
    epochs: int = 2,
    seeds: int = 2,
) -> Study:
    def arm(regularizer: Regularizer | None) -> Callable[[], SegmentationModule]:
        def build() -> SegmentationModule:
            network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.1), nn.Conv2d(4, data.num_classes, 1))
            return SegmentationModule(network, SlowCrossEntropy(), num_classes=data.num_classes, regularizer=regularizer)

        return build

    return Study("slow", data=data, epochs=epochs, seeds=range(seeds), baseline="none", arms={"none": arm(None), "l2": arm(L2(1e-3))})


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(study)
