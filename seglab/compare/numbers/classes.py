"""Where a difference comes from, class by class. Exploratory: it suggests questions, it does not answer the study's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seglab.compare.numbers import statistics
from seglab.compare.numbers.pairing import check_comparable
from seglab.records import Result


@dataclass(frozen=True)
class ClassContrast:
    """One arm against the baseline in one class. Scores in [0, 1]; NaN where too few pairs have the class."""

    arm: str
    class_name: str
    n: int
    difference: float
    low: float
    high: float
    """95 % t interval of this cell alone."""
    p: float
    p_bh: float
    """Exact sign-flip p, and the same adjusted (Benjamini-Hochberg) over all arms and classes."""


@dataclass(frozen=True)
class PerClass:
    """Every arm against the baseline in every class, arm by arm, the classes from frequent to rare. Exploratory."""

    baseline: str
    split: str
    score: str
    class_names: tuple[str, ...]
    cells: tuple[ClassContrast, ...]
    notes: tuple[str, ...]


def per_class(results: Sequence[Result], baseline: str, split: str = "test", score: str = "iou") -> PerClass:
    """Mean paired difference of `split`/`score` in each class, with a 95 % t interval and a p adjusted over all (arm, class) cells.

    Called exploratory, since nobody declared these contrasts beforehand. A seed in which the class is undefined (NaN: neither in
    the predictions nor in the ground truth) is left out of that cell, and named in the notes. ValueError as `compare` does, and for
    an unknown score.
    """
    check_comparable(results, baseline)
    names, notes, keys, differences = from_frequent_to_rare(results[0], split), [], [], []
    table = {result.run: values_of(result, split, score, names) for result in results}
    theirs = {run.seed: values for run, values in table.items() if run.arm == baseline}
    for arm in dict.fromkeys(result.run.arm for result in results if result.run.arm != baseline):
        ours = {run.seed: values for run, values in table.items() if run.arm == arm}
        seeds = sorted(ours.keys() & theirs.keys())
        for index, name in enumerate(names):
            pairs = {seed: (ours[seed][index], theirs[seed][index]) for seed in seeds}
            defined = [pair for pair in pairs.values() if np.isfinite(pair).all()]
            if gone := [str(seed) for seed, pair in pairs.items() if not np.isfinite(pair).all()]:
                why = f"{split}/{score} is undefined for seed {', '.join(gone)}; left out of this cell"
                notes.append(f"{arm} against {baseline}, class {name}: {why}")
            keys.append((arm, name))
            differences.append(statistics.paired_differences(*np.array(defined, dtype=np.float64).reshape(-1, 2).T))
    return PerClass(baseline, split, score, names, _cells(keys, differences), tuple(notes))


def _cells(keys: Sequence[tuple[str, str]], differences: Sequence[statistics.Floats]) -> tuple[ClassContrast, ...]:
    p = statistics.sign_flip_each(differences)
    p_bh = statistics.benjamini_hochberg(p)
    cells = []
    for place, ((arm, name), values) in enumerate(zip(keys, differences, strict=True)):
        low, high = statistics.t_interval(values)
        mean = float(statistics.mean(values))
        cells.append(ClassContrast(arm, name, len(values), mean, float(low), float(high), float(p[place]), float(p_bh[place])))
    return tuple(cells)


def from_frequent_to_rare(result: Result, split: str) -> tuple[str, ...]:
    """The classes by their share of the pixels of the truth; by their labels where a result does not know it."""
    frequency = result.per_class.get(split, {}).get("frequency")
    if frequency is None:
        return result.class_names
    order = sorted(range(len(frequency)), key=lambda label: -np.nan_to_num(frequency[label]))
    return tuple(result.class_names[label] for label in order)


def values_of(result: Result, split: str, score: str, names: Sequence[str]) -> tuple[float, ...]:
    """A score of the classes `names`, in their order.

    Raises:
        ValueError: the result has no such score.
    """
    found = result.per_class.get(split, {}).get(score)
    if found is None:
        known = [f"{name}/{kind}" for name, scores in result.per_class.items() for kind in scores]
        raise ValueError(f"{result.run.name} has no per-class {split}/{score}: it has {', '.join(known) if known else 'none'}")
    return tuple(found[result.class_names.index(name)] for name in names)
