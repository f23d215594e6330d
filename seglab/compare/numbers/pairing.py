"""Check that results belong together, and pair them by seed. Unusable results are noted; results that must not be mixed are refused."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from seglab.compare.criteria import Criteria
from seglab.compare.metric import Metric
from seglab.compare.numbers.statistics import Floats
from seglab.records import Result

Scores = Mapping[str, Mapping[int, float]]
"""Score by arm and seed. Finite scores only."""


def check_comparable(results: Sequence[Result], baseline: str) -> None:
    """Check that results can be compared.

    Raises:
        ValueError: the results come from several studies or have different classes, an arm mixes settings, a run has two results, or
            the baseline has none.
    """
    if not results:
        raise ValueError("there are no results to compare: no run of this study has finished")
    for what, found in (
        ("studies", sorted({result.run.study for result in results})),
        ("lists of classes", sorted({str(list(result.class_names)) for result in results})),
    ):
        if len(found) > 1:
            raise ValueError(f"the results come from different {what}: {'; '.join(found)}. Compare one study at a time")
    runs = [result.run for result in results]
    if twice := sorted(run.name for run, found in Counter(runs).items() if found > 1):
        raise ValueError(f"more than one result for {', '.join(twice)}: keep one result of each run")
    arms: dict[str, set[str]] = {}
    for result in results:
        arms.setdefault(result.run.arm, set()).add(result.identity)
    for arm, settings in arms.items():
        if len(settings) > 1:
            raise ValueError(f"arm {arm!r} mixes {len(settings)} settings ({', '.join(sorted(settings))}): repeat its runs with one")
    if baseline not in arms:
        raise ValueError(f"the baseline {baseline!r} has no results: the arms with results are {', '.join(arms)}")


def finite_scores(results: Sequence[Result], metric: Metric, notes: list[str]) -> Scores:
    """Return the finite scores of all runs, and append a note for every run without one.

    Raises:
        ValueError: no run has the metric.
    """
    scores: dict[str, dict[int, float]] = {result.run.arm: {} for result in results}
    missing: list[ValueError] = []
    for result in sorted(results, key=lambda result: result.run.seed):
        try:
            score, why = result.score(str(metric)), "is undefined (NaN)"
        except ValueError as error:
            score, why = math.nan, "is missing"
            missing.append(error)
        if math.isfinite(score):
            scores[result.run.arm][result.run.seed] = score
        else:
            notes.append(f"{result.run.arm}, seed {result.run.seed}: {metric} {why}; left out")
    if len(missing) == len(results):
        raise missing[0]
    return scores


def scores_of(scores: Mapping[int, float], seeds: Sequence[int]) -> Floats:
    """Return (n,) scores in the order of `seeds`."""
    return np.array([scores[seed] for seed in seeds], dtype=np.float64)


def common_seeds(scores: Scores, arm: str, criteria: Criteria, notes: list[str]) -> tuple[int, ...]:
    """Return the sorted seeds that an arm and the baseline have in common, and append a note for the seeds that only one of them has."""
    baseline = criteria.baseline
    for one, other in ((arm, baseline), (baseline, arm)):
        if alone := sorted(scores[one].keys() - scores[other].keys()):
            missing = f"{other} has no {criteria.metric} for seed {', '.join(map(str, alone))}"
            notes.append(f"{arm} against {baseline}: {missing}; left out of the pairs")
    return tuple(sorted(scores[arm].keys() & scores[baseline].keys()))
