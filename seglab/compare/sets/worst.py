"""Data sets with diverged runs at their worst score."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from seglab.compare.numbers.answer import Comparison
from seglab.compare.numbers.pairing import Scores, common_seeds
from seglab.compare.numbers.verdicts import worst_cases
from seglab.compare.sets.answer import DataSet


def worst_sets(sets: Sequence[DataSet]) -> list[list[DataSet]]:
    """Return the data sets with the worst score of their study in place of each diverged run; nothing if no run has diverged.

    A metric without a direction has two worst cases, with the smallest and with the largest score everywhere.
    """
    cases = [_worst_scores(each.comparison) for each in sets]
    number = max(len(own) for own in cases)
    return [
        [_with_scores(each, own[min(place, len(own) - 1)]) if own else each for each, own in zip(sets, cases, strict=True)]
        for place in range(number)
    ]


def _worst_scores(comparison: Comparison) -> list[Scores]:
    scores = {arm.arm: arm.scores for arm in comparison.arms}
    return worst_cases(scores, {arm.arm: arm.diverged for arm in comparison.arms}, comparison.criteria.metric)


def _with_scores(each: DataSet, scores: Mapping[str, Mapping[int, float]]) -> DataSet:
    """Return a data set with other scores, and contrasts over all seeds that both arms then have."""
    comparison = each.comparison
    baseline = comparison.criteria.baseline
    contrasts = []
    for contrast in comparison.contrasts:
        diverged = {seed for arm in comparison.arms if arm.arm in (contrast.arm, baseline) for seed in arm.diverged}
        contrasts.append(replace(contrast, seeds=common_seeds(scores, contrast.arm, baseline, sorted({*contrast.seeds, *diverged}))))
    arms = tuple(replace(arm, scores=scores[arm.arm]) for arm in comparison.arms)
    return replace(each, comparison=replace(comparison, arms=arms, contrasts=tuple(contrasts)))
