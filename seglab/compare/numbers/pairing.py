"""Which results belong together, and which pairs they make. What cannot be used is noted, what must not be mixed is refused."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from seglab.compare.numbers.statistics import Floats
from seglab.records import Result

Scores = Mapping[str, Mapping[int, float]]
"""Arm, then seed, then score: finite ones only."""


def check_comparable(results: Sequence[Result], baseline: str) -> None:
    """ValueError unless the results are of one study, with the same classes, one setting per arm, no run twice, the baseline there."""
    if not results:
        raise ValueError("there are no results to compare: no run of this study has finished")
    for what, found in (
        ("studies", sorted({result.run.study for result in results})),
        ("lists of classes", sorted({str(list(result.class_names)) for result in results})),
    ):
        if len(found) > 1:
            raise ValueError(f"the results come from different {what}: {'; '.join(found)}. Compare one study at a time")
    runs = [result.run for result in results]
    if twice := sorted({run.name for run in runs if runs.count(run) > 1}):
        raise ValueError(f"more than one result for {', '.join(twice)}: keep one result of each run")
    arms = list(dict.fromkeys(run.arm for run in runs))
    for arm in arms:
        if len(settings := {result.identity for result in results if result.run.arm == arm}) > 1:
            raise ValueError(f"arm {arm!r} mixes {len(settings)} settings ({', '.join(sorted(settings))}): repeat its runs with one")
    if baseline not in arms:
        raise ValueError(f"the baseline {baseline!r} has no results: the arms with results are {', '.join(arms)}")


def finite_scores(results: Sequence[Result], metric: str, notes: list[str]) -> Scores:
    """The metric of every run that has it; a note for every other. The ValueError of `Result.score` if no run knows the metric."""
    scores: dict[str, dict[int, float]] = {result.run.arm: {} for result in results}
    missing: list[ValueError] = []
    for result in sorted(results, key=lambda result: result.run.seed):
        try:
            score, why = result.score(metric), "is undefined (NaN)"
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
    """(n,) in the order of `seeds`."""
    return np.array([scores[seed] for seed in seeds], dtype=np.float64)


def common_seeds(scores: Scores, arm: str, baseline: str, metric: str, notes: list[str]) -> tuple[int, ...]:
    """The seeds that both arms have, sorted; a note for those that only one has."""
    for one, other in ((arm, baseline), (baseline, arm)):
        if alone := sorted(scores[one].keys() - scores[other].keys()):
            notes.append(f"{arm} against {baseline}: {other} has no {metric} for seed {', '.join(map(str, alone))}; left out of the pairs")
    return tuple(sorted(scores[arm].keys() & scores[baseline].keys()))
