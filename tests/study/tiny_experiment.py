"""Do small penalties change a small network? A study of seconds, run by the tests as a user runs theirs."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from seglab import L1, L2, CrossEntropy, Proximal, Regularizer, SegmentationDataModule, SegmentationModule, Shapes, Study, main


class Small(nn.Module):
    def __init__(self, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(8, num_classes, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(image)
        return logits


class BecomesNaN(nn.Module):
    """A loss that is fine twice, and then is not a number."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        self.calls += 1
        return logits.mean() * (float("nan") if self.calls > 2 else 1.0)


def study(
    data: SegmentationDataModule = SegmentationDataModule(
        Shapes(num_train=16, num_val=4, num_test=6, image_size=32, num_shapes=3), batch_size=4, num_workers=0
    ),
    epochs: int = 2,
    seeds: int = 2,
    strength: float = 1e-3,
    broken: bool = False,
    dropout: float = 0.1,
    loss: Callable[[], nn.Module] = CrossEntropy,
) -> Study:
    def arm(regularizer: Regularizer | None, criterion: Callable[[], nn.Module] = loss) -> Callable[[], SegmentationModule]:
        return lambda: SegmentationModule(
            Small(data.num_classes, dropout), criterion(), num_classes=data.num_classes, regularizer=regularizer
        )

    arms = {"none": arm(None), "l1": arm(Proximal(L1(strength))), "l2": arm(L2(strength))}
    if broken:
        arms["broken"] = arm(None, BecomesNaN)
    return Study("tiny", data=data, epochs=epochs, seeds=range(seeds), baseline="none", arms=arms)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(study)
