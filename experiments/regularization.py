"""Which weight penalty makes the better segmenter?

All arms share one `--strength`: λ of L2. L1 and Smooth-L1, whose gradients do not shrink with the weights, have 0.035 of it, so
that all three pull about equally hard on the weights of a freshly initialised ResNet.

    python experiments/regularization.py run
    python experiments/regularization.py run --data CamVid --data.root D --data.size "[120,160]" --epochs 5 --seeds 6
    python experiments/regularization.py compare
"""

from collections.abc import Callable

from jsonargparse import lazy_instance
from torch.optim.lr_scheduler import PolynomialLR

from seglab import (
    L1,
    L2,
    CrossEntropy,
    Proximal,
    Regularizer,
    SegmentationDataModule,
    SegmentationModule,
    Shapes,
    SmoothL1,
    Study,
    main,
    unet,
)


def study(
    data: SegmentationDataModule = lazy_instance(Shapes),  # noqa: B008 - made when the study is
    encoder: str = "resnet18",
    epochs: int = 30,
    seeds: int = 10,
    strength: float = 1e-4,
) -> Study:
    """Arms: no penalty, L1 by its proximal operator, L2 and Smooth-L1 by their gradients.

    Args:
        data: images and masks.
        encoder: any encoder of segmentation-models-pytorch, trained from scratch.
        epochs: passes over the training images.
        seeds: trainings per arm, seeds 0, 1, ...; 6 or more allow a verdict.
        strength: λ of L2; L1 and Smooth-L1 have 0.035 of it.
    """

    def arm(regularizer: Regularizer | None) -> Callable[[], SegmentationModule]:
        return lambda: SegmentationModule(
            unet(encoder, data.num_classes), CrossEntropy(), num_classes=data.num_classes, regularizer=regularizer, scheduler=PolynomialLR
        )

    return Study(
        "regularization",
        data=data,
        epochs=epochs,
        seeds=range(seeds),
        baseline="none",
        arms={
            "none": arm(None),
            "l1": arm(Proximal(L1(0.035 * strength))),
            "l2": arm(L2(strength)),
            "smooth-l1": arm(SmoothL1(0.035 * strength, kappa=0.5)),
        },
    )


if __name__ == "__main__":
    main(study)
