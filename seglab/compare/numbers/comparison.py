"""Compare arms with one declared baseline, paired by seed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seglab.compare.criteria import Criteria
from seglab.compare.numbers import statistics
from seglab.compare.numbers.pairing import Scores, check_comparable, common_seeds, finite_scores, scores_of
from seglab.compare.numbers.statistics import Floats
from seglab.compare.numbers.verdicts import Verdict, power_note, raw_p, too_few, verdict_of
from seglab.records import Result


@dataclass(frozen=True)
class Spread:
    """Mean and spread of one number over the seeds of an arm, in raw units of the metric. NaN if `n` is too small."""

    n: int
    mean: float
    sd: float
    min: float
    max: float


@dataclass(frozen=True)
class ArmSummary:
    """Scores of one arm."""

    arm: str
    scores: Mapping[int, float]
    """Score by seed; finite scores only."""
    score: Spread
    secondary: Mapping[str, Spread]
    """Spread of every other number of the arm's runs, by metric (`val/dice`, `cost/seconds`, ...)."""


@dataclass(frozen=True)
class Contrast:
    """One arm compared with the baseline."""

    arm: str
    seeds: tuple[int, ...]
    """Seeds for which both arms have a score: the pairs."""
    difference: float
    """Mean over the pairs of the arm's score minus the baseline's, in raw units of the metric. Its sign ignores the metric's direction."""
    low: float
    high: float
    """Upper end of the t interval of `difference` at level 1 - alpha, for this contrast alone. `low` is the lower end."""
    p: float
    """Exact sign-flip p."""
    p_holm: float
    """`p`, adjusted over all contrasts."""
    p_equivalence: float
    """p of two one-sided t tests against the margin; NaN if there is no margin."""
    p_equivalence_holm: float
    """`p_equivalence`, adjusted over all contrasts."""
    effect_size: float
    superiority: float
    """Share of the pairs in which the arm is better than the baseline, by the metric's direction."""
    correlation: float
    verdict: Verdict
    within_margin: bool
    """Whether equivalence is shown. If the difference is also significant, the verdict is still better or worse."""
    reason: str
    """Reason why there is no verdict; empty if there is a verdict."""


@dataclass(frozen=True)
class Comparison:
    """Answer of a study."""

    study: str
    criteria: Criteria
    arms: tuple[ArmSummary, ...]
    """Summaries of all arms: the baseline first, then the other arms in the order of the results."""
    contrasts: tuple[Contrast, ...]
    """Contrast of each arm except the baseline, in the order of `arms`."""
    notes: tuple[str, ...]
    """One line for each item that was left out, and for each limit of the answer."""


def compare(results: Sequence[Result], criteria: Criteria) -> Comparison:
    """Compare every arm with the baseline, seed by seed.

    Each contrast has a t interval, an exact sign-flip p and an equivalence p. Both p are adjusted over the k - 1 contrasts (Holm).
    A difference is better or worse if its adjusted p is at most `criteria.alpha`. Otherwise it is equivalent if its adjusted
    equivalence p is at most `criteria.alpha`. Otherwise it is inconclusive. Without a margin there is no equivalence. If a contrast
    has too few pairs for the exact p to reach `alpha` (fewer than 6 at 0.05), it has numbers, but no verdict.

    Raises:
        ValueError: the results do not belong together, the baseline has no results, or no run has the metric.
    """
    check_comparable(results, criteria.baseline)
    notes: list[str] = []
    scores = finite_scores(results, criteria.metric, notes)
    arms = [criteria.baseline, *(arm for arm in scores if arm != criteria.baseline)]
    runs: dict[str, list[Result]] = {}
    for result in results:
        runs.setdefault(result.run.arm, []).append(result)
    return Comparison(
        study=results[0].run.study,
        criteria=criteria,
        arms=tuple(_summary(arm, scores[arm], runs[arm], notes) for arm in arms),
        contrasts=_contrasts(scores, criteria, notes),
        notes=tuple(notes),
    )


def _spread(values: Sequence[float]) -> Spread:
    array = np.asarray(values, dtype=np.float64)
    low, high = (float(array.min()), float(array.max())) if values else (math.nan, math.nan)
    return Spread(len(values), float(statistics.mean(array)), float(statistics.standard_deviation(array)), low, high)


def _summary(arm: str, scores: Mapping[int, float], results: Sequence[Result], notes: list[str]) -> ArmSummary:
    """Return the summary of an arm from the results of its runs."""
    found: dict[str, list[float]] = {}
    for result in results:
        for split, numbers in result.means.items():
            for name, value in numbers.items():
                found.setdefault(f"{split}/{name}", []).append(value)
    secondary = {name: _spread([value for value in values if math.isfinite(value)]) for name, values in found.items()}
    for name, spread in secondary.items():
        if spread.n < len(found[name]):
            missing = f"{len(found[name]) - spread.n} of {len(found[name])} runs"
            notes.append(f"{arm}: {name} is undefined in {missing}; its mean leaves them out")
    return ArmSummary(arm, scores, _spread(list(scores.values())), secondary)


def _contrasts(scores: Scores, criteria: Criteria, notes: list[str]) -> tuple[Contrast, ...]:
    baseline = criteria.baseline
    others = [arm for arm in scores if arm != baseline]
    if not others:
        notes.append(f"{baseline} is the only arm with results: there is nothing to compare it with")
        return ()
    seeds = {arm: common_seeds(scores, arm, criteria, notes) for arm in others}
    pairs = {arm: (scores_of(scores[arm], common), scores_of(scores[baseline], common)) for arm, common in seeds.items()}
    p = raw_p([statistics.paired_differences(ours, theirs) for ours, theirs in pairs.values()], criteria.margin)
    both = np.concatenate([p, statistics.holm(p)]).T
    notes += power_note(max(map(len, seeds.values())), len(others), criteria.alpha, "contrasts")
    return tuple(_contrast(arm, seeds[arm], pairs[arm], both[place], criteria) for place, arm in enumerate(others))


def _contrast(arm: str, seeds: tuple[int, ...], scores: tuple[Floats, Floats], p: Floats, criteria: Criteria) -> Contrast:
    """Return the contrast of one arm.

    Args:
        arm: name of the arm.
        seeds: n seeds that the arm and the baseline have in common.
        scores: (n,) of the arm and (n,) of the baseline.
        p: (4,) sign-flip p and equivalence p, then both adjusted.
        criteria: limits from which the verdict follows.
    """
    differences = statistics.paired_differences(*scores)
    low, high = statistics.t_interval(differences, 1 - criteria.alpha)
    gains = -differences if criteria.metric.smaller_is_better else differences
    reason = too_few(len(seeds), criteria.alpha)
    different, equivalent = bool(p[2] <= criteria.alpha), bool(p[3] <= criteria.alpha)
    return Contrast(
        arm=arm,
        seeds=seeds,
        difference=float(statistics.mean(differences)),
        low=float(low),
        high=float(high),
        p=float(p[0]),
        p_holm=float(p[2]),
        p_equivalence=float(p[1]),
        p_equivalence_holm=float(p[3]),
        effect_size=float(statistics.effect_size(differences)),
        superiority=float(statistics.superiority(gains)),
        correlation=statistics.correlation(*scores),
        verdict="no verdict" if reason else verdict_of(float(statistics.mean(gains)), different, equivalent),
        within_margin=not reason and equivalent,
        reason=reason,
    )
