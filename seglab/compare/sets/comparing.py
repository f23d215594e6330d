"""Compare arms with a baseline over several data sets."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seglab.compare.criteria import Criteria
from seglab.compare.numbers import sets as estimates
from seglab.compare.numbers import statistics
from seglab.compare.numbers.answer import Comparison
from seglab.compare.numbers.contrasts import NO_COST
from seglab.compare.numbers.exact import sign_flip_interval, sign_flip_p
from seglab.compare.numbers.families import holm
from seglab.compare.numbers.paired import smallest_p
from seglab.compare.numbers.pairing import ArmScores, scores_of, tuning_means
from seglab.compare.numbers.sets import Estimate
from seglab.compare.numbers.statistics import Floats, pairs_needed
from seglab.compare.numbers.verdicts import ONLY_COMPLETE, Verdict, verdict_of
from seglab.compare.sets.answer import UNDEFINED, ArmOnSet, ArmOverSets, DataSet, OverSets
from seglab.compare.sets.worst import worst_sets

FEWEST_SEEDS = 5
"""Smallest number of pairs on each data set for an interval over seeds. With fewer, the bootstrap covers the mean far
less often than it says.
"""


def compare_sets(sets: Sequence[DataSet]) -> OverSets:
    """Compare every arm with the baseline over several data sets.

    The mean over data sets has a bootstrap interval over the seeds of each data set (Agarwal et al. 2021). It says how
    sure the mean is for these data sets. A verdict over data sets needs as many of them as a sign-flip p needs to reach
    alpha, 6 at 0.05: the test takes the mean difference on each data set as one observation (Demšar 2006), and its p is
    adjusted over all contrasts (Holm). If a run has diverged, the verdict also has to hold with the worst score of its
    study in its place.

    Raises:
        ValueError: there are fewer than two data sets; two have one name; or metric, baseline, alpha or the arms are
            not equal in all.
    """
    _check(sets)
    tests = max(each.comparison.tests for each in sets)
    arms = list(dict.fromkeys(contrast.arm for each in sets for contrast in each.comparison.contrasts))
    found = _adjusted([_arm(arm, sets, tests) for arm in arms], tests)
    cases = [worst_sets(sets, arm) for arm in arms]
    worst = [
        _adjusted([_arm(arm, own[min(place, len(own) - 1)] if own else sets, tests) for arm, own in zip(arms, cases, strict=True)], tests)
        for place in range(max(map(len, cases), default=0))
    ]
    confirmed = [_confirmed(own, [case[place] for case in worst], sets) for place, own in enumerate(found)]
    return OverSets(tuple(sets), tuple(confirmed), tests, tuple(_notes(sets, tests)))


def _check(sets: Sequence[DataSet]) -> None:
    if len(sets) < 2:
        raise ValueError(f"{len(sets)} data set: expected the studies of at least two")
    names = [each.name for each in sets]
    if len({*names}) < len(names):
        raise ValueError(f"the data sets {', '.join(names)}: expected another name for each")
    first = sets[0]
    for each in sets[1:]:
        mine, theirs = first.comparison.criteria, each.comparison.criteria
        for what, one, other in (
            ("metric", mine.metric, theirs.metric),
            ("baseline", mine.baseline, theirs.baseline),
            ("alpha", mine.alpha, theirs.alpha),
        ):
            if one != other:
                raise ValueError(
                    f"{first.name} declares {what} {one}, {each.name} {what} {other}: expected one {what} for all data sets. --{what} chooses it"
                )
        ours, others = _declared_arms(first.comparison), _declared_arms(each.comparison)
        if {*ours} != {*others}:
            raise ValueError(
                f"{first.name} has the arms {', '.join(ours)}, {each.name} has {', '.join(others)}: expected the same arms in all studies. Name "
                "studies of one script"
            )


def _declared_arms(comparison: Comparison) -> tuple[str, ...]:
    """Return the declared arms of a study, or those with results if they are not known."""
    declared = comparison.criteria.declared
    return tuple(arm.arm for arm in comparison.arms) if declared is None else declared.arms


def _arm(arm: str, sets: Sequence[DataSet], tests: int) -> ArmOverSets:
    """Return the numbers of one arm; p is not yet adjusted, and there is no verdict."""
    pairs = [_pairs(arm, each.comparison) for each in sets]
    shown = []
    for each, (scores, baseline) in zip(sets, pairs, strict=True):
        contrast = next((own for own in each.comparison.contrasts if own.arm == arm), None)
        if contrast is not None:
            shown.append(ArmOnSet(each.name, contrast, _improvement([scores], [baseline], each.comparison.criteria).value))
    criteria = sets[0].comparison.criteria
    differences = [statistics.paired_differences(scores, baseline) for scores, baseline in pairs]
    without = [each.name for each, own in zip(sets, differences, strict=True) if not len(own)]
    means = np.array([np.nan if without else float(statistics.mean(own)) for own in differences])
    low, high = sign_flip_interval(means, 1 - criteria.alpha)
    of_seeds = _without_interval if any(each.comparison.criteria.splits for each in sets) else _of_seeds
    level = 1 - criteria.alpha
    return ArmOverSets(
        arm=arm,
        sets=tuple(shown),
        mean=UNDEFINED if without else of_seeds(estimates.mean_over_sets(differences, level), differences),
        median=UNDEFINED if without else of_seeds(estimates.median_over_sets(differences, level), differences),
        interquartile_mean=UNDEFINED if without else of_seeds(estimates.interquartile_mean(differences, level), differences),
        improvement=of_seeds(_improvement([own[0] for own in pairs], [own[1] for own in pairs], criteria), differences),
        low_new=float(low),
        high_new=float(high),
        p=float(sign_flip_p(means)),
        p_holm=np.nan,
        verdict="no verdict",
        reason=f"no pair of runs on {', '.join(without)}" if without else _no_verdict(sets),
    )


def _pairs(arm: str, comparison: Comparison) -> tuple[Floats, Floats]:
    """Return (n,) scores of the arm and of the baseline in the pairs of the arm's contrast.

    The pairs are the seeds, or the tunings if there are several.
    """
    scores: ArmScores = {summary.arm: summary.scores for summary in comparison.arms}
    seeds = next((contrast.seeds for contrast in comparison.contrasts if contrast.arm == arm), ())
    ours, theirs = scores_of(scores.get(arm, {}), seeds), scores_of(scores[comparison.criteria.baseline], seeds)
    tunings = comparison.criteria.tunings
    return tuning_means(ours, seeds, tunings), tuning_means(theirs, seeds, tunings)


def _improvement(scores: Sequence[Floats], baseline: Sequence[Floats], criteria: Criteria) -> Estimate:
    metric = criteria.metric
    if not metric.has_direction or any(len(own) == 0 for own in scores):
        return UNDEFINED
    sign = -1 if metric.smaller_is_better else 1
    return estimates.probability_of_improvement([sign * own for own in scores], [sign * own for own in baseline], 1 - criteria.alpha)


def _of_seeds(estimate: Estimate, differences: Sequence[Floats]) -> Estimate:
    """Return an estimate, without its interval if a data set has fewer than `FEWEST_SEEDS` pairs."""
    return estimate if all(len(own) >= FEWEST_SEEDS for own in differences) else Estimate(estimate.value, np.nan, np.nan)


def _without_interval(estimate: Estimate, differences: Sequence[Floats]) -> Estimate:
    """Return an estimate without its interval.

    A bootstrap takes seeds for independent, and seeds with data splits of their own are not.
    """
    return Estimate(estimate.value, np.nan, np.nan)


def _no_verdict(sets: Sequence[DataSet]) -> str:
    """Return the reason why no arm has a verdict over data sets; empty if verdicts are given."""
    criteria, k = sets[0].comparison.criteria, len(sets)
    needed = pairs_needed(criteria.alpha)
    if smallest_p(k) > criteria.alpha:
        return f"{k} of the {needed} data sets needed: with {k} the smallest two-sided exact p is {smallest_p(k):.3g}"
    if waiting := [f"{each.name}: {each.waits}" for each in sets if each.waits]:
        return "; ".join(waiting)
    return "" if all(each.comparison.criteria.judges for each in sets) else NO_COST


def _adjusted(arms: Sequence[ArmOverSets], tests: int) -> list[ArmOverSets]:
    """Return the arms with p adjusted over `tests` contrasts."""
    adjusted = holm(np.array([arm.p for arm in arms], dtype=np.float64), tests)
    return [replace(arm, p_holm=float(p)) for arm, p in zip(arms, adjusted, strict=True)]


def _judged(arm: ArmOverSets, criteria: Criteria) -> Verdict:
    """Return the verdict on the complete pairs of an arm."""
    if arm.reason:
        return "no verdict"
    metric = criteria.metric
    gain = -arm.mean.value if metric.smaller_is_better else arm.mean.value
    return verdict_of(gain, different=arm.p_holm <= criteria.alpha, equivalent=False, metric=metric)


def _confirmed(arm: ArmOverSets, worst: Sequence[ArmOverSets], sets: Sequence[DataSet]) -> ArmOverSets:
    """Return an arm with its verdict; inconclusive unless each worst case has the same verdict and sign."""
    criteria = sets[0].comparison.criteria
    verdict = _judged(arm, criteria)
    if verdict in ("no verdict", "inconclusive"):
        return replace(arm, verdict=verdict)
    if all(_judged(case, criteria) == verdict and case.mean.value * arm.mean.value > 0 for case in worst):
        return replace(arm, verdict=verdict)
    return replace(arm, verdict="inconclusive", reason=ONLY_COMPLETE)


def _notes(sets: Sequence[DataSet], tests: int) -> list[str]:
    """Return lines on too few data sets for the tests, on seeds with their own data splits, and on unequal margins."""
    criteria, k = sets[0].comparison.criteria, len(sets)
    notes = []
    if smallest_p(k) <= criteria.alpha < tests * smallest_p(k):
        notes.append(
            f"{k} data sets and {tests} contrasts: the smallest p after Holm is {tests * smallest_p(k):.3g}, so no difference over data sets can "
            f"be shown at {criteria.alpha:g}, however large; {pairs_needed(criteria.alpha, tests)} data sets could"
        )
    if divided := [each.name for each in sets if each.comparison.criteria.splits]:
        notes.append(
            f"{', '.join(divided)}: each seed has data splits of its own, which overlap, so that there are no bootstrap intervals over seeds; the "
            "test over data sets takes each of them as one observation, and holds"
        )
    margins = {each.name: each.comparison.criteria.within for each in sets}
    if len({*margins.values()}) > 1:
        listed = ", ".join(f"{name} {within or 'none'}" for name, within in margins.items())
        notes.append(f"the studies have other margins ({listed}); each verdict on one data set uses its own")
    return notes
