"""Turn adjusted p values into verdicts. Contrasts of arms and effects of factors follow the same rules."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from seglab.compare.metric import Metric
from seglab.compare.numbers import statistics
from seglab.compare.numbers.families import holm
from seglab.compare.numbers.paired import PairedTest, smallest_p
from seglab.compare.numbers.pairing import ArmScores
from seglab.compare.numbers.statistics import Floats

Verdict = Literal["better", "worse", "different", "equivalent", "inconclusive", "no verdict"]
"""Different: of a metric without a direction, such as a gap."""

DECIDED = ("better", "worse", "different", "equivalent")

ONLY_COMPLETE = "the complete pairs show it, but not if each diverged run counts as the worst score of the study"
"""Reason why a verdict on the complete pairs is inconclusive."""


def raw_p(differences: Sequence[Floats], margin: float | None, test: PairedTest) -> Floats:
    """Return (2, k): p of a difference and p of equivalence of k problems, arrays (n_i,) of paired differences.

    The equivalence p is NaN if there is no margin.
    """
    same = [np.nan if margin is None else test.equivalence_p(values, margin) for values in differences]
    return np.array([test.p_each(differences), same]).reshape(2, len(differences))


def adjusted_p(raw: Floats, tests: int) -> Floats:
    """Return both rows of p, each adjusted over `tests` declared tests (Holm): (2, k) -> (2, k)."""
    return np.stack([holm(row, tests) for row in raw])


def verdict_of(gain: float, different: bool, equivalent: bool, metric: Metric) -> Verdict:
    """Return the verdict on a mean difference; `gain` is positive if the arm is better than the baseline."""
    if different:
        return "different" if not metric.has_direction else "better" if gain > 0 else "worse"
    return "equivalent" if equivalent else "inconclusive"


def worst_cases(scores: ArmScores, diverged: Mapping[str, Sequence[int]], metric: Metric) -> list[ArmScores]:
    """Return the scores with the study's worst score in place of each diverged run; nothing if no run has diverged.

    If both runs of a pair diverged, their difference is then 0. A metric without a direction has two worst cases, one
    at each end. A verdict has to hold in all of them.

    Args:
        scores: finite scores by arm and seed.
        diverged: seeds of the diverged runs, by arm.
        metric: says which end is the worst.
    """
    finite = [score for own in scores.values() for score in own.values()]
    if not any(diverged.values()) or not finite:
        return []
    ends = {min(finite), max(finite)} if not metric.has_direction else {max(finite) if metric.smaller_is_better else min(finite)}
    return [{arm: {**dict.fromkeys(diverged.get(arm, ()), end), **own} for arm, own in scores.items()} for end in sorted(ends)]


def power_notes(pairs: Mapping[str, int], tests: int, alpha: float, what: str) -> list[str]:
    """Return a note for each number of pairs that suffices for one test, but not for the first of a family.

    Args:
        pairs: number of pairs of each test, by its name.
        tests: number of tests of the family.
        alpha: level of the family.
        what: name of the tests, such as `contrasts`.
    """
    notes = []
    for number in sorted(set(pairs.values())):
        if smallest_p(number) <= alpha < tests * smallest_p(number):
            names = [name for name, own in pairs.items() if own == number]
            whose = "" if len(names) == len(pairs) else f" ({', '.join(names)})"
            notes.append(
                f"{number} pairs{whose} and {tests} {what}: the smallest p after Holm is {tests} × {smallest_p(number):.3g} = "
                f"{tests * smallest_p(number):.3g}, so no difference can be shown at {alpha:g}, however large; "
                f"{statistics.pairs_needed(alpha, tests)} pairs could"
            )
    return notes
