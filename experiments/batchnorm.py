"""What does an L2 penalty do to weights that a batch norm follows?

Batch norm takes the scale of the weights before it out again. There an L2 penalty cannot make the function simpler: it
makes the weights smaller and so the effective learning rate η/‖w‖² larger (van Laarhoven 2017). Two controls tell the
two effects apart: L2 on the few weights alone that no norm follows, and L2 with every filter before a norm rescaled to
its initial length after each step. With frozen batch norms the scale matters again: a study of its own. The report
draws ‖w‖ and the effective learning rate of each stage.

    python experiments/batchnorm.py run
    python experiments/batchnorm.py run --data.source CamVid --data.source.root D --data.size 96,128 --epochs 10 --seeds 7
    python experiments/batchnorm.py run --batch_norm frozen --data.source CamVid --data.source.root D --weights imagenet

Expected: `l2` has a smaller ‖w‖ and a larger effective learning rate than `none`, `l2-control` (no norm follows) has
neither, and `l2-fixed-norm` keeps ‖w‖ where it began.
"""

from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Literal

from seglab import (
    L2,
    CrossEntropy,
    FixedNorm,
    Regularizer,
    SegmentationDataModule,
    SegmentationModule,
    Shapes,
    Study,
    Sum,
    Where,
    main,
    unet,
)
import torch
from torch.optim.lr_scheduler import PolynomialLR


def study(
    data: SegmentationDataModule = SegmentationDataModule(Shapes()),
    encoder: str = "resnet18",
    weights: str | None = None,
    batch_norm: Literal["train", "frozen"] = "train",
    epochs: int = 30,
    seeds: int = 10,
    strength: float = 5e-4,
    learning_rate: float = 0.05,
) -> Study:
    """Arms: no penalty, L2, and L2 with each of the two controls.

    Args:
        data: images and masks.
        encoder: of the U-Net, any of segmentation-models-pytorch; tu-NAME is one of timm.
        weights: of the encoder, a file or a name on the hub; null trains from scratch.
        batch_norm: train, or frozen at the statistics they start with; weights should then be pretrained.
        epochs: passes over the training images.
        seeds: trainings per arm, seeds 0, 1, ...; with these arms it takes 7 to show a difference.
        strength: λ of L2.
        learning_rate: of SGD with momentum 0.9, falling linearly.
    """

    if not 0 < learning_rate < inf:
        raise ValueError(f"--learning_rate {learning_rate}: must be above 0")

    def sgd(parameters: Iterable[Any]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9)

    def arm(regularizer: Regularizer | None) -> Callable[[], SegmentationModule]:
        return lambda: SegmentationModule(
            unet(encoder, data.num_classes, weights),
            CrossEntropy(),
            num_classes=data.num_classes,
            regularizer=regularizer,
            batch_norm=batch_norm,
            optimizer=sgd,
            scheduler=PolynomialLR,
        )

    return Study(
        "batchnorm" if batch_norm == "train" else "batchnorm-frozen",
        data=data,
        epochs=epochs,
        seeds=range(seeds),
        baseline="none",
        arms={
            "none": arm(None),
            "l2": arm(L2(strength)),
            "l2-control": arm(Where(L2(strength), before_norm=False)),
            "l2-fixed-norm": arm(Sum([L2(strength), FixedNorm()])),
        },
    )


if __name__ == "__main__":
    main(study, name="batchnorm")
