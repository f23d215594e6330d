"""Evaluate a trained network: scores, a confusion matrix for each image, and the result of the run."""

import dataclasses
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
from seglab.module import ScoredSplit, SegmentationModule
from seglab.records import MEAN, SHIFT, Result, corruption_mean
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
        """Score the network on the test split if the job has it, then on the training split; return the run's cost.

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

    def shifted(self, names: Sequence[str]) -> dict[str, Scores]:
        """Score the network on shifted test sets of the study, and return the scores by the name of the shift.

        No cost contains this.

        Raises:
            RuntimeError: an image was not counted exactly once.
        """
        found = {}
        for name in names:
            shift = self.job.study.shifts[name]
            with self.module.validating("shift"):
                self.trainer.validate(self.module, dataloaders=self.data.shift_dataloader(shift), verbose=False)
            counted = sum(len(names) for names, _ in self._counted("shift"))
            _check_count(counted, len(self.data.shifted(shift)), f"the shift {name}")
            found[name] = self.module.scores("shift")
        return found

    def result(self, cost: dict[str, float], shifted: Mapping[str, Scores]) -> Result:
        """Return the result of the run.

        Args:
            cost: costs by name.
            shifted: scores on the shifted test sets, by the name of the shift.
        """
        splits: tuple[ScoredSplit, ...] = ("train", *self.job.splits)
        scores: dict[ScoredSplit, Scores] = {split: self.module.scores(split) for split in splits}
        means: dict[ScoredSplit, dict[str, float]] = {
            split: {name: float(value) for name, value in found.mean.items()} for split, found in scores.items()
        }
        per_class = {
            str(split): {name: tuple(values.tolist()) for name, values in scores[split].per_class.items()} for split in self.job.splits
        }
        result = Result(
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
        return with_shifts(result, shifted, self.job.record.shifts)

    def _gathered(self, split: EvaluatedSplit) -> Matrices:
        parts = self._counted(split)
        names = [name for names, _ in parts for name in names]
        _check_count(len(names), len(self.data.used(split)), f"the {split} split")
        places, groups = places_of([len(names) for names, _ in parts]), self.data.groups(split)
        matrices = np.concatenate([matrices for _, matrices in parts])
        return Matrices(names, matrices, None if groups is None else [groups[place] for place in places])

    def _counted(self, split: ScoredSplit) -> list[tuple[list[str], NDArray[np.int64]]]:
        """Return names and matrices of the images that each rank has counted in the last evaluation of a split."""
        parts: list[Any] = [self.module.evaluation(split).matrices()]
        if self.trainer.world_size > 1:
            mine, parts = parts[0], [None] * self.trainer.world_size
            torch.distributed.all_gather_object(parts, mine)
        return parts


def places_of(shares: Sequence[int]) -> list[int]:
    """Return the places in the split of the images of all ranks, rank after rank.

    Rank r of R evaluates the images r, r + R, r + 2R, …

    Args:
        shares: number of images of each rank.

    >>> places_of([3, 2])
    [0, 2, 4, 1, 3]
    """
    return [rank + len(shares) * place for rank, share in enumerate(shares) for place in range(share)]


def with_shifts(result: Result, shifted: Mapping[str, Scores], shifts: Mapping[str, Mapping[str, Any]]) -> Result:
    """Return a result with more scores under shifts, and their mean over all corruptions if it has the scores of all.

    Args:
        result: the result.
        shifted: scores by the name of the shift.
        shifts: settings of all shifts of the study, by name.
    """
    if not shifted:
        return result
    scores = {name: values for name, values in result.shift.items() if name != MEAN}
    scores |= {name: {score: float(value) for score, value in found.mean.items()} for name, found in shifted.items()}
    per_class = {
        f"{SHIFT}/{name}": {score: tuple(values.tolist()) for score, values in found.per_class.items()} for name, found in shifted.items()
    }
    mean = corruption_mean(scores, shifts)
    return dataclasses.replace(
        result, shift=scores if mean is None else {**scores, MEAN: mean}, per_class={**result.per_class, **per_class}
    )


def _check_count(counted: int, expected: int, what: str) -> None:
    if counted != expected:
        raise RuntimeError(f"{counted} images of {what} were evaluated, and it has {expected}: its scores would be wrong")


def write_matrices(path: Path, matrices: Mapping[EvaluatedSplit, Matrices]) -> None:
    """Write arrays of each split: `<split>_names` (N,), and `<split>` (N,C,C), numbers of pixels by truth × prediction.

    `<split>_groups` (N,) is there if the source names groups.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for split, found in matrices.items():
        arrays |= {f"{split}_names": np.array(found.names), str(split): found.counts.astype(np.uint32)}
        if found.groups is not None:
            arrays[f"{split}_groups"] = np.array(found.groups)
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
