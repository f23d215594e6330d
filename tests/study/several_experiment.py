"""Does L2 help, on images with few shapes and on images with many? A study of seconds for each data set."""

from collections.abc import Callable

import torch

from seglab import L2, CrossEntropy, Regularizer, SegmentationDataModule, SegmentationModule, Shapes, Study, main
from tests.study.tiny_experiment import Small


def shapes(number: int) -> SegmentationDataModule:
    source = Shapes(num_train=8, num_val=4, num_test=4, image_size=32, num_shapes=number)
    return SegmentationDataModule(source, batch_size=4, num_workers=0)


def study(
    few: SegmentationDataModule = shapes(2), many: SegmentationDataModule = shapes(5), epochs: int = 1, seeds: int = 2, other: str = "l2"
) -> list[Study]:
    def on(name: str, data: SegmentationDataModule, second: str) -> Study:
        def arm(regularizer: Regularizer | None) -> Callable[[], SegmentationModule]:
            return lambda: SegmentationModule(
                Small(data.num_classes, 0.1), CrossEntropy(), num_classes=data.num_classes, regularizer=regularizer
            )

        return Study(name, data=data, epochs=epochs, seeds=range(seeds), baseline="none", arms={"none": arm(None), second: arm(L2(1e-3))})

    return [on("l2-few", few, "l2"), on("l2-many", many, other)]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(study)
