"""Small networks and batches for real trainings that two routes can be compared on."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from seglab.losses import CrossEntropy
from seglab.module import SegmentationModule
from seglab.regularizers import Regularizer
from seglab.sample import Batch
from tests.trainers import quiet_trainer


class Small(nn.Module):
    """Two convolutions, with a batch norm between or nothing."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.last(self.norm(self.first(image)).relu())
        return logits


class Encoder(nn.Module):
    """Two feature maps, the second of half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.block = nn.Conv2d(6, 8, 3, padding=1, stride=2)

    def forward(self, image: Tensor) -> list[Tensor]:
        shallow = self.stem(image).tanh()
        return [shallow, self.block(shallow).tanh()]


class Decoder(nn.Module):
    """Up again, with the shallow map beside."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)

    def forward(self, maps: list[Tensor]) -> Tensor:
        shallow, deep = maps
        joint: Tensor = self.up(deep).tanh() + shallow
        return joint


class Staged(nn.Module):
    """A smooth network with the stages of SMP's: encoder.0, encoder.1, decoder, head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder, self.segmentation_head = Encoder(), Decoder(), nn.Conv2d(6, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.segmentation_head(self.decoder(self.encoder(image)))
        return logits


def batches(count: int = 3, images: int = 4, side: int = 8) -> list[Batch]:
    """Drawn images (N,3,H,W) float32 with drawn masks of 4 classes."""
    generator = torch.Generator().manual_seed(7)
    size = torch.full((images, 2), side)
    return [
        Batch(
            torch.rand(images, 3, side, side, generator=generator),
            torch.randint(0, 4, (images, side, side), generator=generator, dtype=torch.uint8),
            tuple(map(str, range(images))),
            size,
            size,
        )
        for _ in range(count)
    ]


def momentum(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


def adamw(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0, eps=1e-3)  # an ε that does not amplify rounding into steps


def fixed_module(
    regularizer: Regularizer | None,
    optimizer: Any = momentum,
    *,
    seed: int = 0,
    net: Any = Small,
    kind: Any = SegmentationModule,
    **settings: Any,
) -> Any:
    torch.manual_seed(seed)
    return kind(net(), CrossEntropy(), num_classes=4, regularizer=regularizer, optimizer=optimizer, **settings)


def loader(given: Sequence[Batch] | None = None) -> DataLoader[Batch]:
    """The batches as they are, in order."""
    return DataLoader(batches() if given is None else list(given), batch_size=None)  # type: ignore[arg-type]


def trained(module: Any, given: Sequence[Batch] | None = None, **settings: object) -> dict[str, Tensor]:
    """The weights and norm statistics after a real training; two epochs of three batches by default."""
    quiet_trainer(**settings).fit(module, loader(given), loader(given))  # the second is for validation, which no trainer of ours does
    return {name: value.detach().clone() for name, value in module.network.state_dict().items()}
