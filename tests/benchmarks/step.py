"""A training step as a study trains, and one of a bare LightningModule, each in turns with the same step in a loop by
hand.

Network, batches and initial weights are the same, and all is in one process.
"""

import copy
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from seglab import CrossEntropy, SegmentationDataModule, SegmentationModule, Shapes, Study, unet
from seglab.callbacks import ResumeCheckpoint
from seglab.interruption import Interruption
from seglab.module import IMAGENET_MEAN, IMAGENET_STD
from seglab.records import Run
from seglab.running.cost import Spent
from seglab.running.job import Job
from seglab.running.process import run_settings
from seglab.running.resources import Resources
from seglab.running.trainer import trainer_of
from seglab.sample import Batch
from seglab.study.identity import record
from tests.benchmarks.device import DEVICE, synchronize
from tests.benchmarks.race.lightning_module import trainer

CLASSES = 19
ROUNDS = 9
"""Blocks of steps of each side that count; one more comes before them, and one after them, whose end is not seen."""


class Size(NamedTuple):
    """Size of a step, and the number of steps of a block."""

    name: str
    build: Callable[[], nn.Module]
    images: int
    side: int
    steps: int


class Tiny(nn.Sequential):
    """A network that computes next to nothing."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, CLASSES, 1))


SIZES = (
    Size("tiny network, 2 × 16²", Tiny, 2, 16, 100),
    Size("U-Net ResNet-18, 4 × 128²", lambda: unet("resnet18", CLASSES), 4, 128, 20 if DEVICE.type == "cuda" else 3),
    Size("U-Net ResNet-50, 2 × 512²", lambda: unet("resnet50", CLASSES), 2, 512, 20 if DEVICE.type == "cuda" else 1),
)


class Block(NamedTuple):
    """Seconds that a block of steps takes."""

    wall: float
    cpu: float
    """CPU time of this process; not of what else runs on the machine."""


class Turns:
    """A loader of batches on which a trainer trains.

    Between two blocks of steps, the loop by hand trains on the same batches.
    """

    def __init__(self, batches: Sequence[Batch], steps: int, by_hand: Callable[[Batch, int], None]) -> None:
        self.batches = batches
        self.steps = steps
        self.by_hand = by_hand
        self.by_hand_times: list[Block] = []
        self.trainer_times: list[Block] = []

    def __len__(self) -> int:
        return self.steps * (ROUNDS + 2)

    def __iter__(self) -> Iterator[Batch]:
        for first in range(0, len(self), self.steps):
            block = [self.batches[step % len(self.batches)] for step in range(first, first + self.steps)]
            began = now()
            for place, batch in enumerate(block):
                self.by_hand(batch, first + place)
            self.by_hand_times.append(since(began))
            began = now()
            yield from block
            self.trainer_times.append(since(began))

    @property
    def rounds(self) -> list[tuple[Block, Block]]:
        """The blocks of the trainer and of the loop by hand that count, by round."""
        return list(zip(self.trainer_times[1 : ROUNDS + 1], self.by_hand_times[1 : ROUNDS + 1], strict=True))


class Bare(L.LightningModule):
    """A bare LightningModule: everything that the numbers of a training need, and nothing else."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, -1, 1, 1), persistent=False)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        mask = batch.mask.long()
        logits = self.network((batch.image.float() / 255 - self.mean) / self.std)
        pixels = F.cross_entropy(logits, mask, ignore_index=255, reduction="none")
        return pixels.sum() / (mask != 255).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.network.parameters(), lr=1e-3, weight_decay=0.0)


class ByHand:
    """The loop by hand: the same computation, and the loss every ten steps."""

    def __init__(self, network: nn.Module) -> None:
        self.module = Bare(network).to(DEVICE)
        self.optimizer = self.module.configure_optimizers()
        self.losses: list[float] = []

    def step(self, batch: Batch, number: int) -> None:
        moved = batch._replace(image=batch.image.to(DEVICE, non_blocking=True), mask=batch.mask.to(DEVICE, non_blocking=True))
        loss = self.module.training_step(moved, number)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if number % 10 == 9:
            self.losses.append(loss.item())


def bench_step(console: Console) -> None:
    """Print a table of the sizes so far, after each of them."""
    cores = f"{torch.get_num_threads()} thread(s)" if DEVICE.type == "cpu" else torch.cuda.get_device_name()
    table = Table(title=f"a training step of a study, {DEVICE.type}, {cores}, {ROUNDS} rounds in turn", title_justify="left")
    for heading in ("", "", "by hand, ms", "ms", "ratio", "spread", "CPU time", "adds, µs"):
        table.add_column(heading, justify="right" if heading else "left")
    for size in SIZES:
        for name, train in (("seglab", train_as_study), ("bare Lightning", train_bare)):
            table.add_row(size.name, name, *cells(size, measured(size, train)))
        console.print(table)


def cells(size: Size, rounds: list[tuple[Block, Block]]) -> list[str]:
    """Return the cells of a row. A ratio is the median over the rounds; the spread is its quartiles."""
    ratios = [ours.wall / theirs.wall for ours, theirs in rounds]
    low, middle, high = statistics.quantiles(ratios, n=4)
    cpu = statistics.median(ours.cpu / theirs.cpu for ours, theirs in rounds)
    added = statistics.median((ours.cpu - theirs.cpu) / size.steps for ours, theirs in rounds)
    walls = [statistics.median(blocks) / size.steps for blocks in zip(*((theirs.wall, ours.wall) for ours, theirs in rounds), strict=True)]
    return [*(f"{1e3 * wall:.2f}" for wall in walls), f"{middle:.3f}", f"{low:.3f} to {high:.3f}", f"{cpu:.3f}", f"{1e6 * added:.0f}"]


def measured(size: Size, train: Callable[[nn.Module, Turns, Size], None]) -> list[tuple[Block, Block]]:
    """Train in turns with the loop by hand, and check that both end with the same weights.

    Return the times of each round.

    Args:
        size: the size of the step.
        train: trains a network on a loader, by a trainer.
    """
    torch.manual_seed(0)
    network = size.build()
    hand = ByHand(copy.deepcopy(network))
    turns = Turns([batch(seed, size.images, size.side) for seed in range(4)], size.steps, hand.step)
    with run_settings(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(network, turns, size)
    for name, weight in network.state_dict().items():
        if not torch.equal(weight.to(DEVICE), hand.module.network.state_dict()[name]):
            raise RuntimeError(f"{size.name}: {name} differs, so the two have not trained the same")
    return turns.rounds


def train_as_study(network: nn.Module, turns: Turns, size: Size) -> None:
    """Train a network as a run of a study does."""
    with tempfile.TemporaryDirectory() as root:
        job = job_of(size, Path(root))
        module = SegmentationModule(network, CrossEntropy(), num_classes=CLASSES)
        module.logs_rows_only = True  # as `execute` does
        trainer_of(job, "", own(job), Interruption()).fit(module, train_dataloaders=turns)


def train_bare(network: nn.Module, turns: Turns, size: Size) -> None:
    """Train a network by Lightning's trainer without loggers and callbacks."""
    trainer(epochs=1).fit(Bare(network), turns)


def job_of(size: Size, root: Path) -> Job:
    """Return a run of a study with one arm and one epoch, without W&B and without diagnostics of the weights.

    A usual run has twenty such diagnostics.

    The epoch has ten steps, so that the run writes a row of its log every ten steps, as longer ones do.
    """
    data = SegmentationDataModule(Shapes(image_size=32, num_train=40, num_val=2, num_test=2), batch_size=4, num_workers=0)

    def arm() -> SegmentationModule:
        return SegmentationModule(size.build(), CrossEntropy(), num_classes=CLASSES)

    study = Study("step", data=data, epochs=1, seeds=[0], baseline="none", arms={"none": arm})
    resources = Resources(accelerator="gpu" if DEVICE.type == "cuda" else "cpu", wandb="disabled", diagnostics=0)
    job = Job(study, Run("step", "none", 0), root, record(study, ["none"]), [], resources)
    job.directory.mkdir(parents=True)
    return job


def own(job: Job) -> list[Callback]:
    """Return the callbacks that a run has beside those of its trainer.

    No checkpoint is due: these loaders have no state.
    """
    return [Spent(job.resources.on_gpu), ResumeCheckpoint(job.resume_checkpoint, 1e6, Interruption())]


def batch(seed: int, images: int, side: int) -> Batch:
    """Return drawn images (N,3,H,W) uint8 and masks, in pinned memory if there is a GPU, as a study loads them."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8, generator=generator)
    mask = torch.randint(0, CLASSES, (images, side, side), dtype=torch.uint8, generator=generator)
    sizes = torch.tensor([[side, side]] * images)
    return Batch(pinned(image), pinned(mask), tuple(map(str, range(images))), pinned(sizes), pinned(sizes.clone()))


def pinned(tensor: Tensor) -> Tensor:
    return tensor.pin_memory() if DEVICE.type == "cuda" else tensor


def now() -> Block:
    synchronize()
    return Block(time.perf_counter(), time.process_time())


def since(began: Block) -> Block:
    ended = now()
    return Block(ended.wall - began.wall, ended.cpu - began.cpu)
