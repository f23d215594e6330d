"""Does pulling weights to their pretrained values (L2-SP) help on CamVid at its published size?

The study of `python -m tests.benchmarks gpu`.

    python tests/benchmarks/published_size.py run --data.source CamVid --data.source.root D --data.size 360,480 \
        --weights resnet18.safetensors --precision bf16-mixed --seeds 4
"""

from collections.abc import Callable
from pathlib import Path

from torch.optim.lr_scheduler import PolynomialLR

from seglab import (
    L2,
    AdamW,
    Anchored,
    CrossEntropy,
    Regularizer,
    SegmentationDataModule,
    SegmentationModule,
    Shapes,
    Study,
    main,
    network,
)


def study(
    data: SegmentationDataModule = SegmentationDataModule(Shapes()),
    encoder: str = "resnet18",
    weights: Path | None = None,
    epochs: int = 20,
    seeds: int = 4,
    strength: float = 1e-3,
) -> Study:
    """Compare no penalty, L2 and, if weights are given, L2-SP.

    L2-SP pulls the encoder to its initial weights and the rest to 0.

    Args:
        data: images and masks.
        encoder: an encoder of segmentation-models-pytorch.
        weights: file with the weights that it starts from; without it, it starts from scratch, and there is no L2-SP.
        epochs: passes over the training images.
        seeds: trainings per arm.
        strength: λ.
    """

    def arm(regularizer: Regularizer | None) -> Callable[[], SegmentationModule]:
        return lambda: SegmentationModule(
            network("Unet", encoder, num_classes=data.num_classes, weights=None if weights is None else str(weights)),
            CrossEntropy(),
            num_classes=data.num_classes,
            regularizer=regularizer,
            optimizer=AdamW(1e-3),
            scheduler=PolynomialLR,
        )

    arms = {"none": arm(None), "l2": arm(L2(strength))}
    if weights is not None:
        arms["l2-sp"] = arm(Anchored(L2(strength), new=L2(strength)))
    return Study("published-size", data=data, epochs=epochs, seeds=range(seeds), baseline="none", arms=arms)


if __name__ == "__main__":
    main(study)
