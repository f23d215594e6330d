"""Check that results belong together, and pair them by seed.

Unusable results are noted; results that must not be mixed are refused.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from seglab.compare.criteria import Criteria
from seglab.compare.declared import shown_seeds
from seglab.compare.metric import Metric
from seglab.compare.numbers.statistics import Floats
from seglab.records import Result, Run

ArmScores = Mapping[str, Mapping[int, float]]
"""Score by arm and seed. Finite scores only."""


def check_comparable(results: Sequence[Result], baseline: str, tunings: int = 1) -> None:
    """Check that results can be compared, those of an arm under one setting for each of its tunings.

    Raises:
        ValueError: the results come from several studies or have different classes, an arm mixes settings, a run has
            two results, or the baseline has none.
    """
    if not results:
        raise ValueError("there are no results to compare")
    for what, found in (
        ("studies", sorted({result.run.study for result in results})),
        ("lists of classes", sorted({str(list(result.class_names)) for result in results})),
    ):
        if len(found) > 1:
            raise ValueError(f"the results come from different {what}: {'; '.join(found)}. Compare one study at a time")
    if twice := sorted(run.name for run, count in Counter(result.run for result in results).items() if count > 1):
        raise ValueError(f"more than one result for {', '.join(twice)}: keep one result of each run")
    settings: dict[tuple[str, int], set[str]] = {}
    for result in results:
        settings.setdefault((result.run.arm, result.run.seed % tunings), set()).add(result.identity)
    for (arm, _), found_settings in settings.items():
        if len(found_settings) > 1:
            listed = ", ".join(sorted(found_settings))
            raise ValueError(f"arm {arm!r} mixes {len(found_settings)} settings ({listed}): repeat its runs with one")
    if baseline not in (arms := dict.fromkeys(arm for arm, _ in settings)):
        raise ValueError(f"the baseline {baseline!r} has no results: the arms with results are {', '.join(arms)}")


def check_one_test_set(results: Sequence[Result]) -> None:
    """Raise a ValueError if the true masks of the test images differ between runs, by the shares of their classes."""
    shares: dict[str, Run] = {}
    for result in results:
        if (own := result.per_class.get("test", {}).get("frequency")) is not None:
            shares.setdefault(" ".join(f"{share:.6f}" for share in own), result.run)
    if len(shares) > 1:
        one, other, *_ = shares.values()
        raise ValueError(
            f"{one.name} and {other.name} were tested on different images, as with --data.folds, and no study.json says so: restore the study.json "
            "of their folder, or give the criteria their data splits; sign flips would take the runs for independent"
        )


def finite_scores(results: Sequence[Result], metric: Metric, notes: list[str]) -> ArmScores:
    """Return the finite scores of all runs, and append a note for every arm with runs that have none.

    Raises:
        ValueError: no run has the metric.
    """
    scores: dict[str, dict[int, float]] = {result.run.arm: {} for result in results}
    without: dict[tuple[str, str], list[int]] = {}
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
            without.setdefault((result.run.arm, why), []).append(result.run.seed)
    if len(missing) == len(results):
        raise missing[0]
    notes += [f"{arm}, {shown_seeds(seeds)}: {metric} {why}; left out" for (arm, why), seeds in without.items()]
    return scores


def scores_of(scores: Mapping[int, float], seeds: Sequence[int]) -> Floats:
    """Return (n,) scores in the order of `seeds`."""
    return np.array([scores[seed] for seed in seeds], dtype=np.float64)


def tuning_means(scores: Floats, seeds: Sequence[int], tunings: int) -> Floats:
    """Return the mean of (n,) scores over the seeds of each tuning that has seeds, (r,).

    Return `scores` themselves for a single tuning.

    Seeds of one tuning share a chosen setting, so that their differences are not independent; the means of different
    tunings are.
    """
    if tunings == 1:
        return scores
    places = np.array(seeds, dtype=np.int64) % tunings
    return np.array([scores[places == place].mean() for place in np.unique(places)], dtype=np.float64)


def pairs_of(seeds: Sequence[int], tunings: int) -> int:
    """Return the number of pairs under these seeds.

    The pairs are the seeds. With several tunings, the pairs are the tunings that have one of the seeds.
    """
    return len(seeds) if tunings == 1 else len({seed % tunings for seed in seeds})


def common_seeds(scores: ArmScores, arm: str, baseline: str, seeds: Sequence[int]) -> tuple[int, ...]:
    """Return those of `seeds` for which both arms have a score, in their order."""
    return tuple(seed for seed in seeds if seed in scores.get(arm, {}) and seed in scores[baseline])


def lone_seeds(scores: ArmScores, criteria: Criteria, known: Collection[Run], study: str) -> list[str]:
    """Return a note for each arm and the seeds that only the arm or only the baseline has.

    Args:
        scores: finite scores by arm and seed.
        criteria: metric and baseline.
        known: runs without a score that other notes name.
        study: name of the study.
    """
    baseline = criteria.baseline
    notes = []
    for arm in (arm for arm in scores if arm != baseline):
        for one, other in ((arm, baseline), (baseline, arm)):
            alone = [seed for seed in sorted(scores[one].keys() - scores[other].keys()) if Run(study, other, seed) not in known]
            if alone:
                missing = f"{other} has no {criteria.metric} for {shown_seeds(alone)}"
                notes.append(f"{arm} against {baseline}: {missing}; left out of the pairs")
    return notes
