"""Does L2 help, each arm at the learning rate that a sequential search has found? A study of seconds."""

from collections.abc import Callable, Mapping

import torch

from seglab import L2, AdamW, CrossEntropy, LogRange, Regularizer, SegmentationDataModule, SegmentationModule, Shapes, Study, Tuned, main
from tests.study.tiny_experiment import Small


def study(
    data: SegmentationDataModule = SegmentationDataModule(
        Shapes(num_train=8, num_val=4, num_test=4, image_size=32, num_shapes=3), batch_size=4, num_workers=0
    ),
    seeds: int = 1,
) -> Study:
    def build(regularizer: Regularizer | None) -> Callable[[Mapping[str, float | str]], SegmentationModule]:
        return lambda values: SegmentationModule(
            Small(data.num_classes, 0.1),
            CrossEntropy(),
            num_classes=data.num_classes,
            regularizer=regularizer,
            optimizer=AdamW(float(values["lr"])),
        )

    space = {"lr": LogRange(1e-4, 1e-1)}
    return Study(
        "sequential",
        data=data,
        epochs=1,
        seeds=range(seeds),
        baseline="none",
        tuning_seeds=(1000,),
        final_round=1,
        arms={
            "none": Tuned.sequential(space, 4, build(None), rounds=2),
            "l2": Tuned.sequential(space, 4, build(L2(1e-3)), rounds=2),
        },
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(study)
