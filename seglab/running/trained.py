"""Evaluate a trained network: scores, a confusion matrix for each image, and the result of the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray

import seglab
from seglab.callbacks import FiniteLoss
from seglab.data import SegmentationDataModule
from seglab.files import atomic_write
from seglab.metrics import Scores
from seglab.module import SegmentationModule, Split
from seglab.records import Result
from seglab.running.cost import Spent, cost
from seglab.running.environment import commit
from seglab.running.job import EvaluatedSplit, Job


class Matrices(NamedTuple):
    """N evaluated images of a split."""

    names: list[str]
    counts: NDArray[np.int64]
    """(N,C,C), numbers of pixels by truth × prediction."""
    groups: list[str] | None
    """The group of each image, such as its patient; None if the source names no groups."""


@dataclass(frozen=True)
class Trained:
    """A job whose training has ended. Every rank evaluates: call the methods on all of them, in the same order."""

    job: Job
    trainer: L.Trainer
    module: SegmentationModule
    data: SegmentationDataModule

    def evaluate(self, spent: Spent) -> dict[str, float]:
        """Score the network on the test split if the job has it, then on the training split; return the cost of the run.

        The cost contains the test, and not the evaluation on the training split.
        """
        training_seconds = spent.seconds
        if "test" in self.job.splits:
            self.trainer.test(self.module, datamodule=self.data, verbose=False)
        else:
            FiniteLoss().on_test_start(self.trainer, self.module)  # without a test, nothing else checks the trained weights
        found = cost(self.module, spent, training_seconds)
        with self.module.validating("train"):
            self.trainer.validate(self.module, dataloaders=self.data.train_evaluation_dataloader(), verbose=False)
        return found

    def matrices(self) -> dict[EvaluatedSplit, Matrices]:
        """Return the confusion matrices of all images of each split, gathered from all ranks.

        Raises:
            RuntimeError: an image of a split was not counted exactly once.
        """
        return {split: self._gathered(split) for split in self.job.splits}

    def result(self, cost: dict[str, float]) -> Result:
        """Return the result of the run."""
        splits: tuple[Split, ...] = ("train", *self.job.splits)
        scores: dict[Split, Scores] = {split: self.module.scores(split) for split in splits}
        means: dict[Split, dict[str, float]] = {
            split: {name: float(value) for name, value in found.mean.items()} for split, found in scores.items()
        }
        per_class = {
            str(split): {name: tuple(values.tolist()) for name, values in scores[split].per_class.items()} for split in self.job.splits
        }
        return Result(
            run=self.job.run,
            identity=self.job.identity,
            class_names=self.data.class_names,
            val=means["val"],
            test=means.get("test", {}),
            per_class=per_class,
            cost=cost,
            commit=commit(),
            version=seglab.__version__,
            train=means["train"],
        )

    def _gathered(self, split: EvaluatedSplit) -> Matrices:
        parts: list[Any] = [self.module.evaluation(split).matrices()]
        if self.trainer.world_size > 1:
            mine, parts = parts[0], [None] * self.trainer.world_size
            torch.distributed.all_gather_object(parts, mine)
        names, expected = [name for names, _ in parts for name in names], len(self.data.used(split))
        if len(names) != expected:
            raise RuntimeError(f"{len(names)} images of the {split} split were evaluated, and it has {expected}: its scores would be wrong")
        places, groups = places_of([len(names) for names, _ in parts]), self.data.groups(split)
        return Matrices(
            names, np.concatenate([matrices for _, matrices in parts]), None if groups is None else [groups[place] for place in places]
        )


def places_of(shares: Sequence[int]) -> list[int]:
    """Return the places in the split of the images of all ranks, rank after rank: rank r of R evaluates the images r, r + R, r + 2R, …

    Args:
        shares: number of images of each rank.

    >>> places_of([3, 2])
    [0, 2, 4, 1, 3]
    """
    return [rank + len(shares) * place for rank, share in enumerate(shares) for place in range(share)]


def write_matrices(path: Path, matrices: Mapping[EvaluatedSplit, Matrices]) -> None:
    """Write two or three arrays for each split: `<split>_names` (N,), and `<split>` (N,C,C), numbers of pixels by truth × prediction.

    `<split>_groups` (N,) is there if the source names groups.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for split, found in matrices.items():
        arrays |= {f"{split}_names": np.array(found.names), str(split): found.counts.astype(np.uint32)}
        if found.groups is not None:
            arrays[f"{split}_groups"] = np.array(found.groups)
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
