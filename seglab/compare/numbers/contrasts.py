"""Contrasts of arms with the baseline at one look, and their verdicts."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seglab.compare.criteria import Criteria
from seglab.compare.numbers import statistics
from seglab.compare.numbers.looks import Look
from seglab.compare.numbers.paired import PairedTest
from seglab.compare.numbers.pairing import ArmScores, common_seeds, pairs_of, scores_of, tuning_means
from seglab.compare.numbers.sequential import always_valid_p
from seglab.compare.numbers.statistics import Floats
from seglab.compare.numbers.verdicts import ONLY_COMPLETE, Verdict, adjusted_p, raw_p, verdict_of

NO_COST = "a cost gets a verdict only if the study declares it as its metric"


@dataclass(frozen=True)
class Contrast:
    """One arm compared with the baseline."""

    arm: str
    seeds: tuple[int, ...]
    """Seeds for which both arms have a score."""
    difference: float
    """Mean over the pairs of the arm's score minus the baseline's, in raw units of the metric. Its sign ignores the
    metric's direction.
    """
    sd_difference: float
    """Standard deviation of the paired differences; NaN below two pairs."""
    low: float
    high: float
    """Upper end of the interval of `difference` at level 1 - alpha, for this contrast alone. The interval inverts the
    sign-flip test. Over data splits, it is the corrected t interval. `low` is the lower end. Infinite, or NaN over data
    splits, if the pairs are too few for the level.
    """
    low_simultaneous: float
    high_simultaneous: float
    """Upper end of the simultaneous interval over all tests (Bonferroni), at level 1 - alpha / tests."""
    p: float
    """Exact sign-flip p; over data splits, p of the corrected t test. If the study declares tests that hold after any
    number of seeds, p of an e-process.
    """
    p_holm: float
    """`p`, adjusted over all declared contrasts."""
    p_equivalence: float
    """p of two one-sided t tests against the margin, corrected over data splits; NaN if there is no margin."""
    p_equivalence_holm: float
    """`p_equivalence`, adjusted over all declared contrasts."""
    effect_size: float
    superiority: float
    """Share of pairs in which the arm is better than the baseline, by the metric's direction; ties count half. NaN for
    a metric without a direction.
    """
    correlation: float
    alpha: float
    """Largest adjusted p of a verdict on these pairs. With planned looks, it is the part of `criteria.alpha` that the
    look at these pairs spends. Without them, it is all of `criteria.alpha`.
    """
    verdict: Verdict
    within_margin: bool
    """True if equivalence is shown. If the difference is also significant, the verdict is still better or worse."""
    reason: str
    """Reason why there is no verdict, or why a difference in the complete pairs is inconclusive; else empty."""
    tunings: int = 1
    """Number of independent tunings of each arm."""

    @property
    def pairs(self) -> int:
        """Number of pairs: the seeds, or the tunings that have seeds if there are several tunings."""
        return pairs_of(self.seeds, self.tunings)


@dataclass(frozen=True)
class Family:
    """All that the contrasts of one look share."""

    look: Look
    criteria: Criteria
    tests: int
    """Number of tests that p is adjusted for."""


def contrasts_at(family: Family, scores: ArmScores, worst: Sequence[ArmScores]) -> list[Contrast]:
    """Return the contrast of each arm with the baseline at one look.

    Args:
        family: look, criteria and number of tests.
        scores: finite scores by arm and seed.
        worst: scores with diverged runs at their worst (see `worst_cases`); a verdict has to hold in all of them.
    """
    baseline = family.criteria.baseline
    arms = [arm for arm in scores if arm != baseline]
    if not arms:
        return []
    pairs = {arm: _pairs(scores, arm, family) for arm in arms}
    p = _p(list(pairs.values()), family)
    found = [_contrast(arm, pairs[arm], p[place], family) for place, arm in enumerate(arms)]
    for imputed in worst:
        bounds = {arm: _pairs(imputed, arm, family) for arm in arms}
        p = _p(list(bounds.values()), family)
        found = [_confirmed(contrast, _contrast(contrast.arm, bounds[contrast.arm], p[i], family)) for i, contrast in enumerate(found)]
    return found


@dataclass(frozen=True)
class _Pairs:
    seeds: tuple[int, ...]
    scores: Floats
    """(n,) score of each pair; the mean over the seeds of a tuning if there are several tunings."""
    baseline: Floats

    @property
    def differences(self) -> Floats:
        return statistics.paired_differences(self.scores, self.baseline)


def _pairs(scores: ArmScores, arm: str, family: Family) -> _Pairs:
    baseline = family.criteria.baseline
    seeds = common_seeds(scores, arm, baseline, family.look.seeds)
    ours, theirs = scores_of(scores.get(arm, {}), seeds), scores_of(scores[baseline], seeds)
    tunings = family.criteria.tunings
    return _Pairs(seeds, tuning_means(ours, seeds, tunings), tuning_means(theirs, seeds, tunings))


def _p(pairs: Sequence[_Pairs], family: Family) -> Floats:
    """Return (k, 4): p of a difference and of equivalence, then both adjusted over the family."""
    differences, criteria = [own.differences for own in pairs], family.criteria
    raw = raw_p(differences, criteria.margin, PairedTest(criteria.test_share))
    if criteria.always_valid and criteria.margin is not None:
        raw[0] = [always_valid_p(own, criteria.margin)[-1] if len(own) else np.nan for own in differences]
        raw[1] = np.nan  # two one-sided t tests hold for a fixed number of pairs only
    return np.concatenate([raw, adjusted_p(raw, family.tests)]).T


def _contrast(arm: str, pairs: _Pairs, p: Floats, family: Family) -> Contrast:
    """Return the contrast of one arm; `p` is (4,): p of a difference and of equivalence, then both adjusted."""
    differences, criteria, alpha = pairs.differences, family.criteria, family.look.alpha
    metric, n, test = criteria.metric, len(differences), PairedTest(criteria.test_share)
    low, high = test.interval(differences, 1 - criteria.alpha)
    low_all, high_all = test.interval(differences, 1 - criteria.alpha / family.tests)
    gains = -differences if metric.smaller_is_better else differences
    reason = family.look.reason or ("" if criteria.judges else NO_COST) or ("" if criteria.always_valid else test.too_few(n, alpha))
    different, equivalent = bool(p[2] <= alpha), bool(p[3] <= alpha)
    return Contrast(
        arm=arm,
        seeds=pairs.seeds,
        difference=float(statistics.mean(differences)),
        sd_difference=float(statistics.standard_deviation(differences)),
        low=low,
        high=high,
        low_simultaneous=low_all,
        high_simultaneous=high_all,
        p=float(p[0]),
        p_holm=float(p[2]),
        p_equivalence=float(p[1]),
        p_equivalence_holm=float(p[3]),
        effect_size=float(statistics.effect_size(differences)),
        superiority=float(statistics.probability_of_superiority(gains)) if metric.has_direction else np.nan,
        correlation=statistics.correlation(pairs.scores, pairs.baseline),
        alpha=alpha,
        verdict="no verdict" if reason else verdict_of(float(statistics.mean(gains)), different, equivalent, metric),
        within_margin=not reason and equivalent,
        reason=reason,
        tunings=criteria.tunings,
    )


def _confirmed(found: Contrast, worst: Contrast) -> Contrast:
    """Return the contrast of the complete pairs, inconclusive unless the worst case has the same verdict and sign."""
    within = found.within_margin and worst.within_margin
    same = found.verdict == worst.verdict and (found.verdict == "equivalent" or found.difference * worst.difference > 0)
    if found.verdict in ("no verdict", "inconclusive") or same:
        return dataclasses.replace(found, within_margin=within)
    return dataclasses.replace(found, verdict="inconclusive", within_margin=False, reason=ONLY_COMPLETE)
