"""Compare arms class by class.

The comparison is exploratory: its differences suggest questions, and do not answer the study's question.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seglab.compare.declared import shown_seeds
from seglab.compare.metric import Metric
from seglab.compare.numbers import families, statistics
from seglab.compare.numbers.paired import PairedTest
from seglab.compare.numbers.pairing import check_comparable, tuning_means
from seglab.compare.numbers.resampled import resampled_interval
from seglab.records import Result

IOU = Metric("test", "iou")


@dataclass(frozen=True)
class ClassContrast:
    """One arm compared with the baseline in one class. Scores are in [0, 1]; NaN if too few pairs have the class."""

    arm: str
    class_name: str
    n: int
    """Number of pairs in which both arms have a score for the class."""
    difference: float
    low: float
    high: float
    """Upper end of the 95 % t interval of `difference`, for this cell alone. `low` is the lower end."""
    p: float
    """Exact sign-flip p; over data splits, the corrected t test's."""
    p_bh: float
    """`p`, adjusted over all arms and classes (Benjamini-Hochberg)."""


@dataclass(frozen=True)
class PerClass:
    """Every arm compared with the baseline in every class. Exploratory."""

    baseline: str
    metric: Metric
    """A score that each class has, such as `test/iou`."""
    class_names: tuple[str, ...]
    """Names of the classes, from frequent to rare."""
    cells: tuple[ClassContrast, ...]
    """Contrast of each arm and class: arm by arm, with the classes in the order of `class_names`."""
    notes: tuple[str, ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms except the baseline."""
        return tuple(dict.fromkeys(cell.arm for cell in self.cells))


ON_ONE_SPLIT = PairedTest()


def per_class(
    results: Sequence[Result], baseline: str, metric: Metric = IOU, test: PairedTest = ON_ONE_SPLIT, tunings: int = 1
) -> PerClass:
    """Return the mean paired difference of each arm in each class, a 95 % t interval and a p adjusted over all cells.

    A class can be undefined in a run (NaN: it is neither in the predictions nor in the truth). Such a seed is left out
    of the cell, and named in the notes. Over data splits, p and interval are those of the corrected t test. With
    several tunings, the pairs are the means over the seeds of each.

    Raises:
        ValueError: the results do not belong together, or have no such score for each class.
    """
    check_comparable(results, baseline, tunings)
    names, notes, keys, differences = from_frequent_to_rare(results[0], metric.split), [], [], []
    table: dict[str, dict[int, tuple[float, ...]]] = {}
    for result in results:
        table.setdefault(result.run.arm, {})[result.run.seed] = values_of(result, metric, names)
    theirs = table.pop(baseline)
    for arm, ours in table.items():
        seeds = sorted(ours.keys() & theirs.keys())
        for index, name in enumerate(names):
            pairs = np.array([(ours[seed][index], theirs[seed][index]) for seed in seeds], dtype=np.float64).reshape(-1, 2)
            defined = np.logical_and.reduce(np.isfinite(pairs), axis=-1)
            if gone := [seed for seed, both in zip(seeds, defined, strict=True) if not both]:
                why = f"{metric} is undefined for {shown_seeds(gone)}; left out of this cell"
                notes.append(f"{arm} against {baseline}, class {name}: {why}")
            keys.append((arm, name))
            kept = [seed for seed, both in zip(seeds, defined, strict=True) if both]
            differences.append(statistics.paired_differences(*(tuning_means(own, kept, tunings) for own in pairs[defined].T)))
    return PerClass(baseline, metric, names, _cells(keys, differences, test), tuple(notes))


def _cells(keys: Sequence[tuple[str, str]], differences: Sequence[statistics.Floats], test: PairedTest) -> tuple[ClassContrast, ...]:
    p = test.p_each(differences)
    p_bh = families.benjamini_hochberg(p)
    means = np.empty((3, len(keys)))  # the mean and the ends of its interval
    for n in {len(values) for values in differences}:  # cells of one size at once, to save time
        places = [place for place, values in enumerate(differences) if len(values) == n]
        values = np.stack([differences[place] for place in places])
        ends = statistics.t_interval(values) if test.test_share is None else resampled_interval(values, test.test_share)
        means[:, places] = [statistics.mean(values), *ends]
    return tuple(
        ClassContrast(arm, name, len(values), *map(float, (*means[:, place], p[place], p_bh[place])))
        for place, ((arm, name), values) in enumerate(zip(keys, differences, strict=True))
    )


def from_frequent_to_rare(result: Result, split: str) -> tuple[str, ...]:
    """Return the classes by their share of the true pixels, largest first.

    If the result has no shares, the classes are in the order of their labels.
    """
    frequency = result.per_class.get(split, {}).get("frequency")
    if frequency is None:
        return result.class_names
    order = sorted(range(len(frequency)), key=lambda label: -np.nan_to_num(frequency[label]))
    return tuple(result.class_names[label] for label in order)


def values_of(result: Result, metric: Metric, names: Sequence[str]) -> tuple[float, ...]:
    """Return the scores of the classes `names`, in their order.

    Raises:
        ValueError: the result has no such score.
    """
    found = result.per_class.get(metric.split, {}).get(metric.score)
    if found is None:
        known = [f"{name}/{kind}" for name, scores in result.per_class.items() for kind in scores]
        raise ValueError(f"{result.run.name} has no per-class {metric}: it has {', '.join(known) if known else 'none'}")
    return tuple(found[result.class_names.index(name)] for name in names)
