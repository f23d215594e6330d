"""Evaluate a trained network: scores, a confusion matrix for each image, and the result of the run."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from seglab.records import MEAN, SHIFT, Result, corruption_mean
from seglab.running.cost import Spent, cost
from seglab.running.environment import commit
from seglab.running.job import EvaluatedSplit, Job

Matrices = tuple[list[str], NDArray[np.int64]]
"""Names of N images, and their confusion matrices (N,C,C), truth × prediction."""


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

    def shifted(self, names: Sequence[str]) -> dict[str, Scores]:
        """Score the network on shifted test sets of the study, and return the scores by the name of the shift. No cost contains this.

        Raises:
            RuntimeError: an image was not counted exactly once.
        """
        found = {}
        for name in names:
            shift = self.job.study.shifts[name]
            with self.module.validating("shift"):
                self.trainer.validate(self.module, dataloaders=self.data.shift_dataloader(shift), verbose=False)
            _check_count(self._counted("shift")[0], len(self.data.shifted(shift)), f"the shift {name}")
            found[name] = self.module.scores("shift")
        return found

    def result(self, cost: dict[str, float], shifted: Mapping[str, Scores]) -> Result:
        """Return the result of the run.

        Args:
            cost: costs by name.
            shifted: scores on the shifted test sets, by the name of the shift.
        """
        splits: tuple[Split, ...] = ("train", *self.job.splits)
        scores: dict[Split, Scores] = {split: self.module.scores(split) for split in splits}
        means: dict[Split, dict[str, float]] = {
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
        names, matrices = self._counted(split)
        _check_count(names, len(self.data.used(split)), f"the {split} split")
        return names, matrices

    def _counted(self, split: Split) -> Matrices:
        """Return the names and the matrices of all images that were counted in the last evaluation of a split, on all ranks."""
        parts: list[Any] = [self.module.evaluation(split).matrices()]
        if self.trainer.world_size > 1:
            mine, parts = parts[0], [None] * self.trainer.world_size
            torch.distributed.all_gather_object(parts, mine)
        return [name for names, _ in parts for name in names], np.concatenate([matrices for _, matrices in parts])


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


def _check_count(names: Sequence[str], expected: int, what: str) -> None:
    if len(names) != expected:
        raise RuntimeError(f"{len(names)} images of {what} were evaluated, and it has {expected}: its scores would be wrong")


def write_matrices(path: Path, matrices: Mapping[EvaluatedSplit, Matrices]) -> None:
    """Write two arrays for each split: `<split>_names` (N,), and `<split>` (N,C,C), numbers of pixels by truth × prediction."""
    arrays = {f"{split}_names": np.array(names) for split, (names, _) in matrices.items()} | {
        str(split): counts.astype(np.uint32) for split, (_, counts) in matrices.items()
    }
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
