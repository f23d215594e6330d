"""Which weight penalty makes the better segmenter?

All arms share one `--strength`: λ of L2. L1 and Smooth-L1, whose gradients do not shrink with the weights, have 0.035 of it, so
that all three pull about equally hard on the weights of a freshly initialised ResNet.

    python experiments/regularization.py run
    python experiments/regularization.py run --data CamVid --data.root D --data.size "[120,160]" --epochs 5 --seeds 6
    python experiments/regularization.py compare
"""

from collections.abc import Callable

from jsonargparse import lazy_instance
from torch import nn
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
    network,
)


def study(
    data: SegmentationDataModule = lazy_instance(Shapes),
    architecture: str = "Unet",
    encoder: str = "resnet18",
    loss: Callable[[], nn.Module] = CrossEntropy,
    epochs: int = 30,
    seeds: int = 10,
    strength: float = 1e-4,
) -> Study:
    """Arms: no penalty, L1 by its proximal operator, L2 and Smooth-L1 by their gradients.

    Args:
        data: images and masks.
        architecture: any of segmentation-models-pytorch, such as FPN or DeepLabV3Plus.
        encoder: any of segmentation-models-pytorch, trained from scratch; tu-NAME is one of timm.
        loss: the data loss, by its import path.
        epochs: passes over the training images.
        seeds: trainings per arm, seeds 0, 1, ...; 6 or more allow a verdict.
        strength: λ of L2; L1 and Smooth-L1 have 0.035 of it.
    """

    def arm(regularizer: Regularizer | None) -> Callable[[], SegmentationModule]:
        return lambda: SegmentationModule(
            network(architecture, encoder, num_classes=data.num_classes),
            loss(),
            num_classes=data.num_classes,
            regularizer=regularizer,
            scheduler=PolynomialLR,
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
