"""Sentences on the comparison of an arm over several data sets."""

import math

from seglab.compare.numbers.statistics import pairs_needed
from seglab.compare.sets.answer import ArmOverSets, OverSets
from seglab.compare.unit import equals, number


def sentence(arm: ArmOverSets, found: OverSets) -> str:
    """Return what is shown about an arm over the data sets, and what is not."""
    criteria, k = found.criteria, len(found.sets)
    unit, base = criteria.metric.unit, criteria.baseline
    if math.isnan(arm.mean.value):
        return f"{arm.arm} against {base} has no mean over the {k} data sets: {arm.reason}."
    size = unit.change(arm.mean.value)
    if math.isfinite(arm.mean.low):
        size += f" ({criteria.level} interval {unit.span(arm.mean.low, arm.mean.high)} over seeds, for these data sets)"
    shown = f"{arm.arm} against {base}, mean over {k} data sets: {size}{_improvement(arm)}. {_signs(arm, found)}"
    if arm.verdict == "no verdict":
        return f"{shown} No verdict over data sets: {arm.reason}."
    p = f"adjusted {equals(arm.p_holm)} over {k} data sets"
    new = (
        f", {criteria.level} interval for data sets of this kind {unit.span(arm.low_new, arm.high_new)}"
        if math.isfinite(arm.low_new)
        else ""
    )
    if arm.verdict == "inconclusive":
        why = f" {arm.reason[0].upper()}{arm.reason[1:]}." if arm.reason else ""
        return f"{shown} Over data sets it is inconclusive: {p}{new}.{why}"
    what = f"differs from {base}" if arm.verdict == "different" else f"is {arm.verdict} than {base}"
    return f"{shown} Over data sets {arm.arm} {what}: {p}{new}."


def _improvement(arm: ArmOverSets) -> str:
    return "" if math.isnan(arm.improvement.value) else f", P(X > Y) = {number(arm.improvement.value, 2)}"


def _signs(arm: ArmOverSets, found: OverSets) -> str:
    """Return on how many data sets the arm has each verdict of its own study."""
    verdicts: dict[str, list[str]] = {}
    for own in arm.sets:
        verdicts.setdefault(own.contrast.verdict, []).append(own.name)
    return f"By data set: {'; '.join(f'{verdict} on {_listed(names)}' for verdict, names in verdicts.items())}."


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{len(names)} data sets"


def protocol(found: OverSets) -> tuple[str, ...]:
    """Return sentences that describe how the numbers over data sets were computed, and what they hold for."""
    criteria = found.criteria
    return (
        f"On each data set: mean difference from {criteria.baseline} over the seeds, its {criteria.level} interval, adjusted p and verdict, all "
        "of its own study.",
        f"Mean over the data sets: each data set counts the same. Its {criteria.level} interval is a percentile bootstrap over the seeds of each "
        "data set (Agarwal et al. 2021). It holds for other seeds on these data sets, not for other data sets. With few seeds it is too narrow: in "
        "simulations, a 95 % interval of 3 data sets covers 87 to 91 % with 5 seeds, and 91 to 94 % with 10. Below 5 seeds there is none.",
        "P(X > Y): a run of the arm beats a run of the baseline, under any seeds; ties count half; averaged over the data sets.",
        "Verdict over data sets: sign flips of the mean differences, one for each data set (Demšar 2006), adjusted over all contrasts (Holm). "
        f"Below {pairs_needed(criteria.alpha)} data sets there is none.",
        "No study.json declares the data sets: choose them before the first result.",
    )
