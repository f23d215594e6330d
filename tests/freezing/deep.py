"""A small network with SMP's stages (encoder.0 to encoder.2, decoder, head), norms and dropout, and its schedules."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from seglab.freezing import (
    LPFT,
    FreezeOut,
    FreezeSchedule,
    FrozenEncoder,
    FullFineTuning,
    GradualUnfreeze,
    LayerwiseDecay,
    Product,
    Surgical,
    WarmUp,
)
from seglab.stage import Progress, Stage

EPOCHS = 4  # of three steps each


class Block(nn.Module):
    """A strided convolution, norm and dropout."""

    def __init__(self, before: int, after: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, padding=1, stride=2)
        self.norm = nn.BatchNorm2d(after)
        self.dropout = nn.Dropout(dropout)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.dropout(self.norm(self.conv(image)).tanh())
        return result


class Encoder(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(3, 6, dropout), Block(6, 8, dropout), Block(8, 8, dropout)])

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [image]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return maps


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Conv2d(22, 6, 1)
        self.norm = BatchNormAct2d(6)

    def forward(self, maps: list[Tensor]) -> Tensor:
        size = maps[0].shape[-2:]
        joint = torch.cat([nn.functional.interpolate(one, size) for one in maps[1:]], 1)
        result: Tensor = self.norm(self.up(joint)).tanh()
        return result


class Deep(nn.Module):
    """Three stages of encoder."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder, self.decoder, self.segmentation_head = Encoder(dropout), Decoder(), nn.Conv2d(6, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.segmentation_head(self.decoder(self.encoder(image)))
        return logits


@dataclass(frozen=True)
class Alternating(FreezeSchedule):
    """The encoder trains in every other pair of steps: it is frozen again, in the middle of epochs too."""

    def lr_scale(self, stage: Stage, progress: Progress) -> float:
        return 1.0 if stage.part != "encoder" else float(progress.step // 2 % 2)


SCHEDULES: dict[str, FreezeSchedule] = {
    "full": FullFineTuning(0.5),
    "frozen": FrozenEncoder(),
    "lp-ft by epoch": LPFT(1),
    "lp-ft in mid-epoch": LPFT(0.42),
    "gradual": GradualUnfreeze(1),
    "layer-wise": LayerwiseDecay(0.5),
    "gradual × layer-wise, warmed up": Product([WarmUp(GradualUnfreeze(0.17), 2), LayerwiseDecay(0.5)]),
    "surgical": Surgical(["encoder.1", "head"]),
    "freeze out": FreezeOut(0.5),
    "alternating": Alternating(),
}

Scheduler = Callable[[torch.optim.Optimizer, int], Any]
SCHEDULERS: dict[str, Scheduler | None] = {
    "constant": None,
    "cosine": torch.optim.lr_scheduler.CosineAnnealingLR,
    "one cycle": lambda optimizer, steps: torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-2, total_steps=steps),
    "plateau": partial(lambda optimizer, steps: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5)),
}
