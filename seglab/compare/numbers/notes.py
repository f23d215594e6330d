"""Notes on the limits of a comparison: unequal pairs, diverged runs, skewed differences and undeclared seeds."""

from collections.abc import Sequence

from seglab.compare.declared import shown_seeds
from seglab.compare.numbers import statistics
from seglab.compare.numbers.answer import ArmSummary, Comparison
from seglab.compare.numbers.contrasts import Contrast
from seglab.compare.numbers.divergence import mcnemar_p
from seglab.compare.numbers.paired import PairedTest
from seglab.compare.numbers.pairing import common_seeds, finite_scores, scores_of, tuning_means
from seglab.compare.unit import equals
from seglab.records import Result

SKEWED, ENOUGH = 1.0, 8
"""Absolute skewness of the paired differences above which a note is made, and the smallest number of pairs for it."""


def limits(comparison: Comparison) -> list[str]:
    """Return the notes on each contrast."""
    arms = {arm.arm: arm for arm in comparison.arms}
    baseline = arms[comparison.criteria.baseline]
    lines = [line for contrast in comparison.contrasts for line in _means(contrast, arms[contrast.arm], baseline, comparison)]
    lines += _divergence(comparison)
    return lines + [line for contrast in comparison.contrasts for line in _skewness(contrast, arms[contrast.arm], baseline)]


def undeclared(results: Sequence[Result], comparison: Comparison) -> list[str]:
    """Return a note on results of seeds that were not declared, with the numbers that include them."""
    criteria, declared = comparison.criteria, comparison.criteria.declared
    if declared is None or not declared.seeds:
        return []
    added = sorted({result.run.seed for result in results} - {*declared.seeds})
    if not added:
        return []
    scores = finite_scores(results, criteria.metric, [])
    unit, parts = criteria.metric.unit, []
    for contrast in comparison.contrasts:
        seeds = common_seeds(scores, contrast.arm, criteria.baseline, (*declared.seeds, *added))
        ours, theirs = scores_of(scores.get(contrast.arm, {}), seeds), scores_of(scores[criteria.baseline], seeds)
        differences = statistics.paired_differences(*(tuning_means(own, seeds, criteria.tunings) for own in (ours, theirs)))
        if len(differences):
            size = unit.change(float(statistics.mean(differences)))
            (p,) = PairedTest(criteria.test_share).p_each([differences])
            parts.append(f"{contrast.arm} {size}, unadjusted {equals(float(p))} over {len(seeds)} seeds")
    numbers = f". With them, exploratory: {'; '.join(parts)}" if parts else ""
    why = "not declared before the first result" if {*added} <= {*declared.added_seeds} else "not among the declared seeds"
    return [f"{shown_seeds(added)}: {why}; left out of the table and of every verdict{numbers}"]


def _means(contrast: Contrast, arm: ArmSummary, baseline: ArmSummary, comparison: Comparison) -> list[str]:
    """Note that the difference is over fewer seeds than the means of the table."""
    n, unit = len(contrast.seeds), comparison.criteria.metric.unit
    if n == 0 or n == len(arm.scores) == len(baseline.scores):
        return []
    ours, theirs = (unit.value(float(statistics.mean(scores_of(own.scores, contrast.seeds)))) for own in (arm, baseline))
    later = len(arm.scores.keys() & baseline.scores.keys()) > n
    which = "of the look that has decided it" if later else f"that it shares with {baseline.arm}"
    return [f"{arm.arm}: the difference is over the {n} seeds {which}; over these the means are {ours} and {theirs}"]


def _divergence(comparison: Comparison) -> list[str]:
    """Note how often each arm has diverged, against the baseline."""
    arms = {arm.arm: arm for arm in comparison.arms}
    baseline = arms.pop(comparison.criteria.baseline)
    lines = []
    for arm in arms.values():
        if not arm.diverged and not baseline.diverged:
            continue
        there = {*baseline.scores, *baseline.diverged} & {*arm.scores, *arm.diverged}
        only_arm, only_baseline = (len({*one.diverged} & there - {*other.diverged}) for one, other in ((arm, baseline), (baseline, arm)))
        exact = "" if comparison.criteria.splits is not None else f" (exact McNemar {equals(mcnemar_p(only_arm, only_baseline))})"
        lines.append(
            f"{arm.arm}: {len(arm.diverged)} of {arm.runs} runs have diverged, of {baseline.arm} {len(baseline.diverged)} of {baseline.runs}"
            f"{exact}; a verdict has to hold with the worst score of the study in their place too"
        )
    return lines


def _skewness(contrast: Contrast, arm: ArmSummary, baseline: ArmSummary) -> list[str]:
    """Note differences that are too skewed for a test of symmetry to be a test of the mean."""
    if contrast.pairs < ENOUGH:
        return []
    seeds, tunings = contrast.seeds, contrast.tunings
    differences = statistics.paired_differences(*(tuning_means(scores_of(own.scores, seeds), seeds, tunings) for own in (arm, baseline)))
    skewness = float(statistics.skewness(differences))
    if not abs(skewness) > SKEWED:
        return []
    return [
        f"{arm.arm}: the paired differences are skewed (skewness {skewness:.1f}): p and interval assume that they are symmetric around their "
        "mean, and can be too optimistic. Look at each seed"
    ]
