"""Data sets with diverged runs at their worst score."""

from collections.abc import Sequence
from dataclasses import replace

from seglab.compare.numbers.answer import Comparison
from seglab.compare.numbers.looks import planned_looks
from seglab.compare.numbers.pairing import ArmScores, common_seeds
from seglab.compare.numbers.verdicts import worst_cases
from seglab.compare.sets.answer import DataSet


def worst_sets(sets: Sequence[DataSet], arm: str) -> list[list[DataSet]]:
    """Return the data sets for an arm with the worst score of their study in place of each diverged run.

    Return nothing if no run has diverged.

    The worst score and the diverged runs of a study are those of the look that has judged the arm, as in the study's
    own verdict. A metric without a direction has two worst cases, with the smallest and with the largest score
    everywhere.
    """
    cases = [_worst_scores(each.comparison, arm) for each in sets]
    number = max(len(own) for own in cases)
    return [
        [_with_scores(each, arm, own[min(place, len(own) - 1)]) if own else each for each, own in zip(sets, cases, strict=True)]
        for place in range(number)
    ]


def _worst_scores(comparison: Comparison, arm: str) -> list[ArmScores]:
    seeds = _judged_seeds(comparison, arm)
    scores = {each.arm: {seed: score for seed, score in each.scores.items() if seed in seeds} for each in comparison.arms}
    diverged = {each.arm: [seed for seed in each.diverged if seed in seeds] for each in comparison.arms}
    return worst_cases(scores, diverged, comparison.criteria.metric)


def _with_scores(each: DataSet, arm: str, scores: ArmScores) -> DataSet:
    """Return a data set with other scores, and the arm's contrast over all seeds that arm and baseline then share."""
    comparison = each.comparison
    seeds = common_seeds(scores, arm, comparison.criteria.baseline, _judged_seeds(comparison, arm))
    contrasts = tuple(replace(own, seeds=seeds) if own.arm == arm else own for own in comparison.contrasts)
    arms = tuple(replace(own, scores=scores[own.arm]) for own in comparison.arms)
    return replace(each, comparison=replace(comparison, arms=arms, contrasts=contrasts))


def _judged_seeds(comparison: Comparison, arm: str) -> tuple[int, ...]:
    """Return the seeds of the look whose verdict on an arm stands; all compared seeds without planned looks."""
    contrast = next((own for own in comparison.contrasts if own.arm == arm), None)
    if contrast is None:
        return comparison.seeds
    looks = planned_looks(comparison.criteria)
    return next((look.seeds for look in looks if look.alpha == contrast.alpha and {*contrast.seeds} <= {*look.seeds}), comparison.seeds)
