"""Does an interruption leave a trace? A study of seconds that can be made to die where its environment says.

`DIE_AT=7` ends the process in its seventh optimizer step with the signal `DIE_BY`, or the run with an ERROR;
`DIE_IN=2:fsync` the process within the second checkpoint. Whoever gets to the end of a test adds a line to `ends.txt`:
the run's folder, the process, and whether the run had its result already.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, ReduceLROnPlateau

from seglab import L2, CrossEntropy, Regularizer, SegmentationDataModule, SegmentationModule, Shapes, Study, main
from seglab.freezing import FreezeSchedule, GradualUnfreeze, LayerwiseDecay, Product, WarmUp
from seglab.interruption import ECHO_SECONDS
from seglab.regularizers import L1, Proximal, Relative, SmoothL1, Spectral, Sum
from seglab.sample import Batch


class Block(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv, self.norm, self.dropout = nn.Conv2d(before, after, 3, padding=1, stride=2), nn.BatchNorm2d(after), nn.Dropout(0.2)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.dropout(self.norm(self.conv(image)).relu())
        return result


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(3, 6), Block(6, 8)])

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [image]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return maps


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.norm = nn.Conv2d(14, 6, 1), nn.BatchNorm2d(6)

    def forward(self, maps: list[Tensor]) -> Tensor:
        size = maps[0].shape[-2:]
        joint = torch.cat([nn.functional.interpolate(one, size) for one in maps[1:]], 1)
        result: Tensor = self.norm(self.up(joint)).relu()
        return result


class Net(nn.Module):
    """With the stages encoder.0, encoder.1, decoder and head."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.segmentation_head = Encoder(), Decoder(), nn.Conv2d(6, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.segmentation_head(self.decoder(self.encoder(image)))
        return logits


class Fragile(SegmentationModule):
    """Dies in the step that `DIE_AT` names, or, as in `10:0`, in a batch of the validation after so many steps."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        if os.environ.get("DIE_AT") == str(self.global_step):
            self.die()
        if os.environ.get("FREE_AT") == str(self.global_step):
            BALLAST.unlink()
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if os.environ.get("DIE_AT") == f"{self.global_step}:{batch_idx}":
            self.die()
        return super().validation_step(batch, batch_idx)

    def die(self) -> None:
        if os.environ.get("DIE_RANK", "0") == str(self.global_rank):
            for number in os.environ.get("DIE_BY", "SIGKILL").split():
                if number == "later":
                    time.sleep(1.5 * ECHO_SECONDS)
                elif number == "FULL":
                    fill_the_disk()
                elif number == "ERROR":
                    raise RuntimeError(f"in attempt {len(list(Path(self.trainer.default_root_dir).glob('lease.*')))}")
                else:
                    os.kill(os.getpid(), getattr(signal, number))

    def on_test_end(self) -> None:
        if self.global_rank == 0:
            directory = Path(self.trainer.default_root_dir)
            with Path("ends.txt").open("a") as file:
                file.write(f"{directory} {os.getpid()} {(directory / 'result.json').exists()}\n")
        if os.environ.get("DIE_AT") == "end":
            self.die()


class Averaging(Fragile):
    """Logs the mean of an epoch, which no checkpoint within the epoch knows."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("train/mean_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.name))
        return loss


BALLAST = Path("ballast")


def fill_the_disk() -> None:
    """Fill the disk of the working directory, up to `LEAVE` bytes."""
    with BALLAST.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(BALLAST, BALLAST.stat().st_size - int(os.environ.get("LEAVE", 0)))


def die_in_checkpoint(place: str) -> None:
    """Die when the checkpoint is about to be synchronised for the n-th time, or renamed: `2:fsync`, `3:replace`."""
    count, _, name = place.partition(":")
    owner: Any = os if name == "fsync" else Path
    original, seen = getattr(owner, name), []

    def deadly(target: Any, *rest: Any) -> Any:
        path = str(Path(f"/proc/self/fd/{target}").readlink() if name == "fsync" else target)
        if "resume.ckpt" in path:
            seen.append(path)
            if len(seen) == int(count):
                os.kill(os.getpid(), signal.SIGKILL)
        return original(target, *rest)

    setattr(owner, name, deadly)


def momentum(parameters: Any) -> Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


def adamw(parameters: Any) -> Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)


def plateau(optimizer: Optimizer, steps: int) -> LRScheduler:
    return ReduceLROnPlateau(optimizer, patience=0, threshold=0.5)


def study(
    data: SegmentationDataModule = SegmentationDataModule(
        Shapes(num_train=20, num_val=9, num_test=4, image_size=16, num_shapes=2), batch_size=4, num_workers=0
    ),
    epochs: int = 4,
    seeds: int = 1,
    accumulate: int = 1,
    strength: float = 1e-2,
) -> Study:
    def arm(
        regularizer: Regularizer | None,
        freeze: FreezeSchedule | None,
        optimizer: Callable[[Any], Optimizer],
        scheduler: Callable[[Optimizer, int], LRScheduler] | None,
        kind: type[SegmentationModule] = Fragile,
    ) -> Callable[[], SegmentationModule]:
        return lambda: kind(
            Net(data.num_classes),
            CrossEntropy(),
            num_classes=data.num_classes,
            regularizer=regularizer,
            freeze=freeze,
            optimizer=optimizer,
            scheduler=scheduler,
        )

    gradual = Product([WarmUp(GradualUnfreeze(0.3), 2), LayerwiseDecay(0.5)])
    measured = Sum([Relative(L2(1.0), 0.3, after=0.1, steps=6), SmoothL1(strength, kappa=0.5), Spectral(strength)])
    arms = {
        "plain": arm(None, None, momentum, plateau),
        "gradual": arm(Proximal(L1(strength)), gradual, adamw, CosineAnnealingLR),
        "measured": arm(measured, None, adamw, None),
        "averaging": arm(None, None, momentum, None, Averaging),
    }
    return Study("fragile", data=data, epochs=epochs, seeds=range(seeds), baseline="plain", accumulate=accumulate, arms=arms)


def start() -> None:
    """Run the script. Its classes have the same names however it is started."""
    from tests.study import fragile_experiment

    torch.set_num_threads(1)
    if "DIE_IN" in os.environ:
        die_in_checkpoint(os.environ["DIE_IN"])
    main(fragile_experiment.study)


if __name__ == "__main__":
    start()
