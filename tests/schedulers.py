"""Every scheduler of torch: as seglab gets it, as torch has it with all written out, and as flags."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from seglab.schedulers import SchedulerFactory

FEW = ("SequentialLR", "ReduceLROnPlateau")
"""Schedulers that are tested at each change: several of the training's length, and one that follows a metric. The
others are tested by `make test-weekly`.
"""


def decay(update: int) -> float:
    return float(0.7**update)


def shrink(update: int) -> float:
    return 0.9 if update % 2 else 0.8


def warmed_up(optimizer: Optimizer, steps: int) -> LRScheduler:
    """A linear warm-up, then a cosine to the end."""
    return SequentialLR(optimizer, [LinearLR(optimizer, 0.1, total_iters=2), CosineAnnealingLR(optimizer, steps - 2)], [2])


def chained(optimizer: Optimizer) -> LRScheduler:
    """Two schedulers at once, of no particular length."""
    return ChainedScheduler([ConstantLR(optimizer, 0.5, total_iters=4), ExponentialLR(optimizer, 0.9)])


@dataclass(frozen=True)
class Case:
    """One scheduler in three forms, which have the same learning rates."""

    factory: SchedulerFactory
    by_hand: Callable[[Optimizer, int], Any]
    words: tuple[str, ...]
    """The class or function by its name, then arguments and values, as in ("StepLR", "step_size", "5")."""

    def flags(self, name: str) -> Iterator[str]:
        """Yield the flags of a parameter that is called `name`."""
        yield from (f"--{name}", self.words[0])
        for argument, value in zip(self.words[1::2], self.words[2::2], strict=True):
            yield from (f"--{name}.{argument}", value)


SCHEDULERS: dict[str, Case] = {
    "StepLR": Case(
        partial(StepLR, step_size=5, gamma=0.5),
        lambda optimizer, _: StepLR(optimizer, 5, 0.5),
        ("StepLR", "step_size", "5", "gamma", "0.5"),
    ),
    "MultiStepLR": Case(
        partial(MultiStepLR, milestones=[2, 7]),
        lambda optimizer, _: MultiStepLR(optimizer, [2, 7]),
        ("MultiStepLR", "milestones", "[2, 7]"),
    ),
    "ConstantLR": Case(
        partial(ConstantLR, factor=0.5, total_iters=4),
        lambda optimizer, _: ConstantLR(optimizer, 0.5, 4),
        ("ConstantLR", "factor", "0.5", "total_iters", "4"),
    ),
    "LinearLR": Case(
        partial(LinearLR, start_factor=0.1, total_iters=6),
        lambda optimizer, _: LinearLR(optimizer, 0.1, 1.0, 6),
        ("LinearLR", "start_factor", "0.1", "total_iters", "6"),
    ),
    "LinearLR as it is": Case(LinearLR, lambda optimizer, _: LinearLR(optimizer), ("LinearLR",)),
    "ExponentialLR": Case(
        partial(ExponentialLR, gamma=0.8), lambda optimizer, _: ExponentialLR(optimizer, 0.8), ("ExponentialLR", "gamma", "0.8")
    ),
    "PolynomialLR": Case(PolynomialLR, lambda optimizer, total: PolynomialLR(optimizer, total), ("PolynomialLR",)),
    "PolynomialLR, power": Case(
        partial(PolynomialLR, power=2.0), lambda optimizer, total: PolynomialLR(optimizer, total, 2.0), ("PolynomialLR", "power", "2")
    ),
    "PolynomialLR, length": Case(
        partial(PolynomialLR, total_iters=7), lambda optimizer, _: PolynomialLR(optimizer, 7), ("PolynomialLR", "total_iters", "7")
    ),
    "CosineAnnealingLR": Case(CosineAnnealingLR, lambda optimizer, total: CosineAnnealingLR(optimizer, total), ("CosineAnnealingLR",)),
    "CosineAnnealingLR, floor": Case(
        partial(CosineAnnealingLR, eta_min=1e-3),
        lambda optimizer, total: CosineAnnealingLR(optimizer, total, 1e-3),
        ("CosineAnnealingLR", "eta_min", "1e-3"),
    ),
    "CosineAnnealingLR, length": Case(
        partial(CosineAnnealingLR, T_max=5), lambda optimizer, _: CosineAnnealingLR(optimizer, 5), ("CosineAnnealingLR", "T_max", "5")
    ),
    "CosineAnnealingWarmRestarts": Case(
        partial(CosineAnnealingWarmRestarts, T_0=3, T_mult=2),
        lambda optimizer, _: CosineAnnealingWarmRestarts(optimizer, 3, 2),
        ("CosineAnnealingWarmRestarts", "T_0", "3", "T_mult", "2"),
    ),
    "OneCycleLR": Case(
        partial(OneCycleLR, max_lr=0.02),
        lambda optimizer, total: OneCycleLR(optimizer, 0.02, total_steps=total),
        ("OneCycleLR", "max_lr", "0.02"),
    ),
    "OneCycleLR, length": Case(
        partial(OneCycleLR, max_lr=0.02, total_steps=40),
        lambda optimizer, _: OneCycleLR(optimizer, 0.02, total_steps=40),
        ("OneCycleLR", "max_lr", "0.02", "total_steps", "40"),
    ),
    "OneCycleLR, epochs": Case(
        partial(OneCycleLR, max_lr=0.02, epochs=3, steps_per_epoch=11),
        lambda optimizer, _: OneCycleLR(optimizer, 0.02, epochs=3, steps_per_epoch=11),
        ("OneCycleLR", "max_lr", "0.02", "epochs", "3", "steps_per_epoch", "11"),
    ),
    "CyclicLR": Case(
        partial(CyclicLR, base_lr=1e-3, max_lr=0.02, step_size_up=4),
        lambda optimizer, _: CyclicLR(optimizer, 1e-3, 0.02, 4),
        ("CyclicLR", "base_lr", "1e-3", "max_lr", "0.02", "step_size_up", "4"),
    ),
    "CyclicLR, range": Case(
        partial(CyclicLR, base_lr=1e-3, max_lr=0.02, step_size_up=2, mode="exp_range", gamma=0.9, cycle_momentum=False),
        lambda optimizer, _: CyclicLR(optimizer, 1e-3, 0.02, 2, mode="exp_range", gamma=0.9, cycle_momentum=False),
        (
            "CyclicLR",
            "base_lr",
            "1e-3",
            "max_lr",
            "0.02",
            "step_size_up",
            "2",
            "mode",
            "exp_range",
            "gamma",
            "0.9",
            "cycle_momentum",
            "false",
        ),
    ),
    "LambdaLR": Case(
        partial(LambdaLR, lr_lambda=decay),
        lambda optimizer, _: LambdaLR(optimizer, decay),
        ("LambdaLR", "lr_lambda", "tests.schedulers.decay"),
    ),
    "MultiplicativeLR": Case(
        partial(MultiplicativeLR, lr_lambda=shrink),
        lambda optimizer, _: MultiplicativeLR(optimizer, shrink),
        ("MultiplicativeLR", "lr_lambda", "tests.schedulers.shrink"),
    ),
    "SequentialLR": Case(warmed_up, warmed_up, ("tests.schedulers.warmed_up",)),
    "ChainedScheduler": Case(chained, lambda optimizer, _: chained(optimizer), ("tests.schedulers.chained",)),
    "ReduceLROnPlateau": Case(
        partial(ReduceLROnPlateau, patience=0, threshold=0.5),
        lambda optimizer, _: ReduceLROnPlateau(optimizer, "min", patience=0, threshold=0.5),
        ("torch.optim.lr_scheduler.ReduceLROnPlateau", "patience", "0", "threshold", "0.5"),
    ),
}
