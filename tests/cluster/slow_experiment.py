"""Does weight decay change a small network? A study of seconds, or of minutes where a step is told to take longer."""

from collections.abc import Callable

import torch
from torch import nn

from seglab import L2, Regularizer, SegmentationDataModule, SegmentationModule, Shapes, Study, main
from tests.cluster.slow_loss import SlowCrossEntropy


def study(
    data: SegmentationDataModule = SegmentationDataModule(
        Shapes(num_train=16, num_val=2, num_test=2, image_size=16, num_shapes=2), batch_size=2, num_workers=0
    ),
    epochs: int = 2,
    seeds: int = 2,
    dropout: float = 0.1,
) -> Study:
    def arm(regularizer: Regularizer | None) -> Callable[[], SegmentationModule]:
        def build() -> SegmentationModule:
            first, last = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Conv2d(4, data.num_classes, 1)
            network = nn.Sequential(first, nn.BatchNorm2d(4), nn.Dropout(dropout), last)
            return SegmentationModule(network, SlowCrossEntropy(), num_classes=data.num_classes, regularizer=regularizer)

        return build

    return Study("slow", data=data, epochs=epochs, seeds=range(seeds), baseline="none", arms={"none": arm(None), "l2": arm(L2(1e-3))})


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(study)
