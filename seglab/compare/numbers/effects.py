"""The effects of two crossed factors as contrasts of arms, and their statistics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from seglab.compare.criteria import Criteria
from seglab.compare.numbers import statistics
from seglab.compare.numbers.paired import PairedTest
from seglab.compare.numbers.pairing import ArmScores, pairs_of, scores_of, tuning_means
from seglab.compare.numbers.statistics import Floats
from seglab.compare.numbers.verdicts import ONLY_COMPLETE, Verdict, adjusted_p, power_notes, raw_p, verdict_of
from seglab.records import CROSSING

EffectKind = Literal["main", "interaction", "simple"]
EffectVerdict = Verdict | Literal["effects differ", "effects alike", "exploratory"]
"""Exploratory: a simple effect whose interaction is not shown."""
Levels = tuple[tuple[str, ...], tuple[str, ...]]
"""Levels of the first and of the second factor. The first level of each is its reference level, which belongs to the
baseline.
"""


@dataclass(frozen=True)
class Effect:
    """Change of the score if a factor has another level than its reference level.

    With y_ab the score of the arm `a+b`, and a0, b0 the reference levels, `difference` is the mean over the seeds of

    - main: the mean of y_ab - y_a0b over all levels b of the other factor;
    - simple: y_ab - y_a0b at the level b in `at`;
    - interaction: (y_ab - y_a0b) - (y_ab0 - y_a0b0), which is the simple effect at `at` minus the simple effect at b0.
    """

    kind: EffectKind
    factor: str
    """The factor whose level changes. An interaction is the same number for both factors; it is listed under the
    first.
    """
    level: str
    at: str
    """Level of the other factor; empty for a main effect."""
    seeds: tuple[int, ...]
    """Seeds for which every arm involved has a score."""
    difference: float
    """Size of the effect, in raw units of the metric. Its sign ignores the metric's direction."""
    low: float
    high: float
    """Upper end of the interval of `difference` at level 1 - alpha, for this effect alone. The interval inverts the
    sign-flip test. Over data splits, it is the corrected t interval. `low` is the lower end. Infinite, or NaN over data
    splits, if the pairs are too few for the level.
    """
    p: float
    """Exact sign-flip p; over data splits, the corrected t test's."""
    p_holm: float
    """`p`, adjusted over the family: all main effects and interactions, or the simple effects of one factor."""
    p_equivalence: float
    """p of two one-sided t tests against the margin; NaN if there is no margin."""
    p_equivalence_holm: float
    """`p_equivalence`, adjusted over the same family."""
    verdict: EffectVerdict
    """The verdict on an interaction says whether the two simple effects differ. The simple effects say which of them is
    better.
    """
    within_margin: bool
    """True if equivalence is shown. A difference can be significant and still within the margin."""
    reason: str
    """Reason why there is no verdict, or why a difference in the complete pairs is inconclusive; else empty."""
    tunings: int = 1
    """Number of independent tunings of each arm."""

    @property
    def pairs(self) -> int:
        """Number of pairs: the seeds, or the tunings that have seeds if there are several tunings."""
        return pairs_of(self.seeds, self.tunings)


@dataclass(frozen=True)
class Crossed:
    """Scores of two crossed factors, and the limits from which verdicts follow."""

    factors: tuple[str, str]
    levels: Levels
    scores: ArmScores
    worst: Sequence[ArmScores]
    """Scores with diverged runs at their worst (see `worst_cases`); a verdict has to hold in all of them."""
    criteria: Criteria
    reason: str = ""
    """Reason why no effect gets a verdict; empty if verdicts are given."""


def effects_of(crossed: Crossed, notes: list[str]) -> tuple[Effect, ...]:
    """Return the main effects of both factors, their interactions and the simple effects of both, in this order."""
    sought = _sought(crossed.factors, crossed.levels)
    found = _tested(sought, crossed.scores, crossed)
    for worst in crossed.worst:
        found = [_confirmed(effect, other) for effect, other in zip(found, _tested(sought, worst, crossed), strict=True)]
    for family, places in _families(sought).items() if crossed.criteria.splits is None else ():
        pairs = {_name(sought[place]): found[place].pairs for place in places}
        notes += power_notes(pairs, len(places), crossed.criteria.alpha, family)
    differing = [effect for effect in found if effect.verdict == "effects differ"]
    return tuple(_gated(effect, differing) for effect in found)


def _tested(sought: "Sequence[_Sought]", scores: ArmScores, crossed: Crossed) -> list[Effect]:
    """Return the effects with the verdicts that these scores give."""
    seeds = [_common(one, scores) for one in sought]
    differences = [_differences(one, scores, common, crossed.criteria.tunings) for one, common in zip(sought, seeds, strict=True)]
    raw = raw_p(differences, crossed.criteria.margin, PairedTest(crossed.criteria.test_share))
    adjusted = np.empty_like(raw)
    for places in _families(sought).values():
        adjusted[:, places] = adjusted_p(raw[:, places], len(places))
    p = np.concatenate([raw, adjusted]).T
    return [_effect(one, seeds[i], differences[i], p[i], crossed) for i, one in enumerate(sought)]


def _confirmed(found: Effect, worst: Effect) -> Effect:
    """Return the effect in the complete pairs, inconclusive unless the worst case has the same verdict and sign."""
    within = found.within_margin and worst.within_margin
    same = found.verdict == worst.verdict and (found.verdict in ("equivalent", "effects alike") or found.difference * worst.difference > 0)
    if found.verdict in ("no verdict", "inconclusive") or same:
        return replace(found, within_margin=within)
    return replace(found, verdict="inconclusive", within_margin=False, reason=ONLY_COMPLETE)


def _gated(effect: Effect, differing: Sequence[Effect]) -> Effect:
    """Return the effect; a simple effect is exploratory unless an interaction of its level is shown."""
    if effect.kind != "simple" or effect.verdict == "no verdict":
        return effect
    if any(effect.level == (other.level if effect.factor == other.factor else other.at) for other in differing):
        return effect
    return replace(effect, verdict="exploratory", within_margin=False, reason="")


def _name(sought: "_Sought") -> str:
    return f"{sought.level} at {sought.at}" if sought.at else sought.level


@dataclass(frozen=True)
class _Sought:
    """An effect in terms of arms: (sum of the scores of `plus` - sum of the scores of `minus`) / `cells`."""

    kind: EffectKind
    factor: str
    level: str
    at: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    cells: int = 1


def _sought(factors: tuple[str, str], levels: Levels) -> list[_Sought]:
    mains, simples = [], []
    for place in range(2):
        (reference, *others), at = levels[place], levels[1 - place]
        minus = tuple(_cell(place, reference, b) for b in at)
        for level in others:
            plus = tuple(_cell(place, level, b) for b in at)
            mains.append(_Sought("main", factors[place], level, "", plus, minus, cells=len(at)))
            each = zip(at, plus, minus, strict=True)
            simples += [_Sought("simple", factors[place], level, b, (ours,), (theirs,)) for b, ours, theirs in each]
    (a0, *first), (b0, *second) = levels
    interactions = [
        _Sought("interaction", factors[0], a, b, (_cell(0, a, b), _cell(0, a0, b0)), (_cell(0, a0, b), _cell(0, a, b0)))
        for a in first
        for b in second
    ]
    return [*mains, *interactions, *simples]


def _cell(place: int, level: str, other: str) -> str:
    """Return the arm that crosses `level` of the factor at `place` (0 or 1) with `other` of the other factor."""
    return CROSSING.join((level, other) if place == 0 else (other, level))


def _common(sought: _Sought, scores: ArmScores) -> tuple[int, ...]:
    return tuple(sorted(set.intersection(*(set(scores.get(arm, {})) for arm in (*sought.plus, *sought.minus)))))


def _differences(sought: _Sought, scores: ArmScores, seeds: Sequence[int], tunings: int) -> Floats:
    """Return (n,) differences, one for each pair.

    The sums are subtracted before division, so that rounding makes ties equal.
    """
    plus, minus = (np.asarray(sum(scores_of(scores.get(arm, {}), seeds) for arm in arms)) for arms in (sought.plus, sought.minus))
    return statistics.paired_differences(tuning_means(plus, seeds, tunings), tuning_means(minus, seeds, tunings)) / sought.cells


def _families(sought: Sequence[_Sought]) -> Mapping[str, list[int]]:
    """Return the places of the effects that are adjusted together, by the name of the family."""
    families: dict[str, list[int]] = {}
    for place, one in enumerate(sought):
        name = f"simple effects of {one.factor}" if one.kind == "simple" else "main effects and interactions"
        families.setdefault(name, []).append(place)
    return families


def _effect(sought: _Sought, seeds: tuple[int, ...], differences: Floats, p: Floats, crossed: Crossed) -> Effect:
    """Return one effect; `p` is (4,): p of a difference and of equivalence, then both adjusted."""
    criteria = crossed.criteria
    test = PairedTest(criteria.test_share)
    low, high = test.interval(differences, 1 - criteria.alpha)
    mean, reason = float(statistics.mean(differences)), crossed.reason or test.too_few(len(differences), criteria.alpha)
    gain = -mean if criteria.metric.smaller_is_better else mean
    different, equivalent = bool(p[2] <= criteria.alpha), bool(p[3] <= criteria.alpha)
    verdict: EffectVerdict = verdict_of(gain, different, equivalent, criteria.metric)
    if sought.kind == "interaction":
        verdict = "effects differ" if different else "effects alike" if equivalent else "inconclusive"
    return Effect(
        kind=sought.kind,
        factor=sought.factor,
        level=sought.level,
        at=sought.at,
        seeds=seeds,
        difference=mean,
        low=low,
        high=high,
        p=float(p[0]),
        p_holm=float(p[2]),
        p_equivalence=float(p[1]),
        p_equivalence_holm=float(p[3]),
        verdict="no verdict" if reason else verdict,
        within_margin=not reason and equivalent,
        reason=reason,
        tunings=criteria.tunings,
    )
