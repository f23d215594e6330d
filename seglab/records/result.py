"""Result of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from seglab.records.names import IMAGE_SCORES, SHIFT, Run
from seglab.records.version import SCHEMA


@dataclass(frozen=True)
class Result:
    """Result of a finished run. Scores are in [0, 1]; an undefined score is NaN."""

    run: Run
    identity: str
    """Hash of all settings that determine the numbers, except the seed (see `fingerprint`)."""
    class_names: tuple[str, ...]
    val: Mapping[str, float]
    """`miou`, `dice`, `pixel_accuracy`, ... on the validation split."""
    test: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, tuple[float, ...]]]
    """One value for each class, by split and by score (`iou`, `dice`, `precision`, `recall`)."""
    cost: Mapping[str, float]
    """Costs: `seconds`, `training_seconds`, `peak_memory_mib`, `parameters`, `trainable_parameters`, `exact_zeros`.
    `seconds` covers training, validation and test, `training_seconds` all but the test. `exact_zeros` is the fraction
    of the weights that a penalty applies to, the same weights in every arm.
    """
    commit: str | None
    version: str
    train: Mapping[str, float] = field(default_factory=dict)
    """Scores as in `val`, on as many training images, without augmentation; empty if these were not evaluated."""
    shift: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Scores as in `test` on each shifted test set, by name, and their `mean` over corruptions (see `corruption_mean`).
    Scores of each class are in `per_class`, under `shift/<name>`. Empty for a study without shifts.
    """
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        for split, scores in self.per_class.items():
            for name, values in scores.items():
                if len(values) != len(self.class_names):
                    raise ValueError(f"{split}/{name} has {len(values)} values for {len(self.class_names)} classes")

    @property
    def gap(self) -> dict[str, float]:
        """Training score minus validation score, by name: a measure of overfitting."""
        return {name: value - self.val[name] for name, value in self.train.items() if name in self.val}

    @property
    def means(self) -> dict[str, Mapping[str, float]]:
        """Numbers of a whole split or run, by `train`, `val`, `gap`, `test`, `cost` and `shift/<name>`."""
        shifted = {f"{SHIFT}/{name}": scores for name, scores in self.shift.items()}
        return {"train": self.train, "val": self.val, "gap": self.gap, "test": self.test, "cost": self.cost, **shifted}

    @property
    def numbers(self) -> dict[str, float]:
        """All scores, gaps and costs, under the names that `score` takes."""
        return self._scores()

    def score(self, metric: str) -> float:
        """Return the value of `test/miou`, `gap/miou`, `test/iou/<class>` or `cost/<name>`.

        For any other metric, raise a ValueError that lists the existing metrics.
        """
        split, _, name = metric.partition("/")
        if (value := self.means.get(split, {}).get(name)) is not None:
            return value
        found = self._scores()
        if metric not in found:
            split, _, name = metric.partition("/")
            if name in IMAGE_SCORES and self.means.get(split):
                raise ValueError(
                    f"{self.run.name} has no {metric}: seglab {self.version} did not compute scores of single images. Compare another metric, "
                    "or train its study anew under another --name"
                )
            known = ", ".join(sorted(name for name in found if not name.startswith(f"{SHIFT}/")))
            shifts = ", ".join(f"{SHIFT}/{name}" for name in self.shift)  # each with the scores of the test split: too many to be listed
            more = f"; scores as those of test, under {shifts}" if shifts else ""
            raise ValueError(f"unknown metric {metric!r}: {self.run.name} has {known}{more}")
        return found[metric]

    def _scores(self) -> dict[str, float]:
        flat = {f"{split}/{name}": value for split, scores in self.means.items() for name, value in scores.items()}
        for split, scores in self.per_class.items():
            for name, values in scores.items():
                flat |= {f"{split}/{name}/{label}": value for label, value in zip(self.class_names, values, strict=True)}
        return flat


def corruption_mean(scores: Mapping[str, Mapping[str, float]], shifts: Mapping[str, Mapping[str, Any]]) -> dict[str, float] | None:
    """Return the mean of each score over the severities of each corruption, then over the corruptions.

    This is the mean performance under corruption (mPC) of Michaelis et al. (2019), arXiv:1907.07484. None without a
    corruption, or if one has no scores.

    Args:
        scores: scores by the name of the shift.
        shifts: settings of all shifts of the study, by name, as in `StudyRecord`.
    """
    kinds: dict[str, list[Mapping[str, float]]] = {}
    for name, settings in shifts.items():
        if settings.get("kind") is not None:
            if name not in scores:
                return None
            kinds.setdefault(str(settings["kind"]), []).append(scores[name])
    if not kinds:
        return None
    every = [score for score in next(iter(kinds.values()))[0] if all(score in one for found in kinds.values() for one in found)]
    return {score: fmean(fmean(one[score] for one in found) for found in kinds.values()) for score in every}
