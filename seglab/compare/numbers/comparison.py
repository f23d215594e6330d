"""Compare arms with one declared baseline, paired by seed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from seglab.compare.criteria import Criteria
from seglab.compare.numbers import notes as notes_on
from seglab.compare.numbers import statistics
from seglab.compare.numbers.answer import ArmSummary, Comparison, Spread
from seglab.compare.numbers.contrasts import Contrast, Family, contrasts_at
from seglab.compare.numbers.looks import Endings, look_notes, reached_looks
from seglab.compare.numbers.pairing import ArmScores, check_comparable, check_one_test_set, finite_scores, lone_seeds
from seglab.compare.numbers.verdicts import DECIDED, power_notes, worst_cases
from seglab.records import Result, Run


def compare(results: Sequence[Result], criteria: Criteria, endings: Endings | None = None) -> Comparison:
    """Compare every arm with the baseline, seed by seed.

    Each contrast has an exact sign-flip p, the interval of all differences that this test does not reject, and an
    equivalence p. Both p are adjusted over all declared contrasts (Holm): a declared arm without results counts like
    p = 1. A difference is better or worse if its adjusted p is at most `criteria.alpha`. Otherwise it is equivalent if
    its adjusted equivalence p is at most `criteria.alpha`. Otherwise it is inconclusive. Without a margin there is no
    equivalence. If a contrast has too few pairs for the exact p to reach `alpha` (fewer than 6 at 0.05), it has
    numbers, but no verdict.

    If `criteria.declared` names seeds, there is no verdict while a run of a declared arm and seed is open, and other
    seeds are only mentioned in a note. Planned looks, and tests that hold after any number of seeds, give verdicts
    before (see `Study`). If a run has diverged, a verdict also has to hold with the worst score of the study in its
    place.

    If `criteria.splits` says that each seed has data splits of its own, p, interval and equivalence are those of the
    corrected t test (Nadeau & Bengio 2003), and a verdict needs 5 pairs. If the study repeats its tuning, the pairs are
    the means over the seeds of each tuning.

    Args:
        results: finished runs.
        criteria: metric, baseline, limits, data splits, and the declared analysis if it is known.
        endings: state of each run that has no result; a declared run that is neither here nor among the results is
            open.

    Raises:
        ValueError: the results do not belong together, the baseline has no results, no run has the metric, or the runs
            were tested on different images and `criteria.splits` does not say so.
    """
    endings = {} if endings is None else endings
    check_comparable(results, criteria.baseline, criteria.tunings)
    if criteria.splits is None:
        check_one_test_set(results)
    looks = reached_looks(results, criteria, endings)
    judged = [result for result in results if result.run.seed in looks[-1].seeds]
    check_comparable(judged, criteria.baseline, criteria.tunings)
    notes: list[str] = []
    found = finite_scores(judged, criteria.metric, notes)
    scores = {arm: found[arm] for arm in sorted(found, key=lambda arm: arm != criteria.baseline)}  # a stable sort: the baseline first
    diverged = diverged_seeds(endings, looks[-1].seeds)
    scores |= {arm: {} for arm in diverged if arm not in scores}  # an arm whose runs have all diverged
    tests = _tests(criteria, scores)
    contrasts = _contrasts([Family(look, criteria, tests) for look in looks], scores, diverged)
    notes += lone_seeds(scores, criteria, _named_elsewhere(judged, scores, endings, criteria), results[0].run.study)
    runs: dict[str, list[Result]] = {arm: [] for arm in scores}
    for result in judged:
        runs[result.run.arm].append(result)
    for arm in scores:
        notes += _undefined(arm, runs[arm], str(criteria.metric))
    if not looks[-1].reason and not criteria.always_valid and criteria.splits is None:
        notes += power_notes({contrast.arm: contrast.pairs for contrast in contrasts}, tests, looks[-1].alpha, "contrasts")
    if not contrasts:
        notes.append(f"{criteria.baseline} is the only arm with results: there is nothing to compare it with")
    answer = Comparison(
        study=results[0].run.study,
        criteria=criteria,
        arms=tuple(_summary(arm, scores[arm], runs[arm], diverged.get(arm, ())) for arm in scores),
        contrasts=contrasts,
        seeds=looks[-1].seeds,
        tests=tests,
        notes=(*notes, *look_notes(looks, criteria)),
    )
    return replace(answer, notes=(*answer.notes, *notes_on.limits(answer), *notes_on.undeclared(results, answer)))


def diverged_seeds(endings: Endings, seeds: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return those of `seeds` whose run has diverged, by arm."""
    found: dict[str, list[int]] = {}
    for run in sorted(run for run, ending in endings.items() if ending == "diverged" and run.seed in seeds):
        found.setdefault(run.arm, []).append(run.seed)
    return {arm: tuple(own) for arm, own in found.items()}


def _tests(criteria: Criteria, scores: ArmScores) -> int:
    """Return the number of tests: all arms that were ever declared or have results, except the baseline."""
    declared = criteria.declared
    arms = set(scores) if declared is None else {*scores, *declared.arms, *declared.dropped_arms}
    return max(1, len(arms - {criteria.baseline}))


def _contrasts(families: Sequence[Family], scores: ArmScores, diverged: Mapping[str, Sequence[int]]) -> tuple[Contrast, ...]:
    """Return the contrast of each arm at the first look that has decided it, or at the last look.

    The worst score of a look is that of its own seeds, so that later seeds cannot take its verdict back.
    """
    chosen: dict[str, Contrast] = {}
    for family in families:
        seeds = family.look.seeds
        there = {arm: {seed: score for seed, score in own.items() if seed in seeds} for arm, own in scores.items()}
        gone = {arm: [seed for seed in own if seed in seeds] for arm, own in diverged.items()}
        worst = worst_cases(there, gone, family.criteria.metric)
        for contrast in contrasts_at(family, scores, worst):
            if contrast.arm not in chosen or chosen[contrast.arm].verdict not in DECIDED:
                chosen[contrast.arm] = contrast
    return tuple(chosen.values())


def _named_elsewhere(results: Sequence[Result], scores: ArmScores, endings: Endings, criteria: Criteria) -> set[Run]:
    """Return the runs without a score that need no note of their own.

    These are runs with an ending, runs with an undefined score, and declared open runs.
    """
    study = results[0].run.study
    undefined = {result.run for result in results if result.run.seed not in scores[result.run.arm]}
    declared = criteria.declared
    planned = set() if declared is None else {Run(study, arm, seed) for arm in declared.arms for seed in declared.seeds}
    return {*endings, *undefined, *(planned - {result.run for result in results})}


def _spread(values: Sequence[float]) -> Spread:
    array = np.asarray(values, dtype=np.float64)
    low, high = (float(array.min()), float(array.max())) if values else (math.nan, math.nan)
    return Spread(len(values), float(statistics.mean(array)), float(statistics.standard_deviation(array)), low, high)


def _secondary(results: Sequence[Result]) -> dict[str, list[float]]:
    """Return every number of an arm's runs, by metric."""
    found: dict[str, list[float]] = {}
    for result in results:
        for split, numbers in result.means.items():
            for name, value in numbers.items():
                found.setdefault(f"{split}/{name}", []).append(value)
    return found


def _summary(arm: str, scores: Mapping[int, float], results: Sequence[Result], diverged: tuple[int, ...]) -> ArmSummary:
    secondary = {name: _spread([value for value in values if math.isfinite(value)]) for name, values in _secondary(results).items()}
    return ArmSummary(arm, scores, _spread(list(scores.values())), secondary, diverged)


def _undefined(arm: str, results: Sequence[Result], metric: str) -> list[str]:
    """Return a note on the metrics, except the one that is compared, that are undefined in runs of the arm."""
    names: dict[str, list[str]] = {}
    for name, values in _secondary(results).items():
        missing = sum(not math.isfinite(value) for value in values)
        if missing and name != metric:
            names.setdefault(f"{missing} of {len(values)} runs", []).append(name)
    return [f"{arm}: undefined in {where}, which the means leave out: {', '.join(own)}" for where, own in names.items()]
