"""The effects of two crossed factors as contrasts of arms, and their statistics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seglab.compare.criteria import Criteria
from seglab.compare.numbers import families, statistics
from seglab.compare.numbers.pairing import Scores, scores_of
from seglab.compare.numbers.statistics import Floats
from seglab.compare.numbers.verdicts import Verdict, power_note, raw_p, too_few, verdict_of
from seglab.records import CROSSING

Kind = Literal["main", "interaction", "simple"]
EffectVerdict = Verdict | Literal["effects differ", "effects alike"]
Levels = tuple[tuple[str, ...], tuple[str, ...]]
"""Levels of the first and of the second factor. The first level of each is its reference level, which belongs to the baseline."""


@dataclass(frozen=True)
class Effect:
    """Change of the score if a factor has another level than its reference level.

    With y_ab the score of the arm `a+b`, and a0, b0 the reference levels, `difference` is the mean over the seeds of

    - main: the mean of y_ab - y_a0b over all levels b of the other factor;
    - simple: y_ab - y_a0b at the level b in `at`;
    - interaction: (y_ab - y_a0b) - (y_ab0 - y_a0b0), which is the simple effect at `at` minus the simple effect at b0.
    """

    kind: Kind
    factor: str
    """The factor whose level changes. An interaction is the same number for both factors; it is listed under the first."""
    level: str
    at: str
    """Level of the other factor; empty for a main effect."""
    seeds: tuple[int, ...]
    """Seeds for which every arm involved has a score: the pairs."""
    difference: float
    """Size of the effect, in raw units of the metric. Its sign ignores the metric's direction."""
    low: float
    high: float
    """Upper end of the t interval of `difference` at level 1 - alpha, for this effect alone. `low` is the lower end."""
    p: float
    """Exact sign-flip p."""
    p_holm: float
    """`p`, adjusted over the effects of the same kind and factor."""
    p_equivalence: float
    """p of two one-sided t tests against the margin; NaN if there is no margin."""
    p_equivalence_holm: float
    """`p_equivalence`, adjusted over the effects of the same kind and factor."""
    verdict: EffectVerdict
    """The verdict on an interaction says whether the two simple effects differ. The simple effects say which of them is better."""
    within_margin: bool
    """Whether equivalence is shown. A difference can be significant and still within the margin."""
    reason: str
    """Reason why there is no verdict; empty if there is a verdict."""


def effects_of(factors: tuple[str, str], levels: Levels, scores: Scores, criteria: Criteria, notes: list[str]) -> tuple[Effect, ...]:
    """Return the main effects of both factors, their interactions, and the simple effects of both factors, in this order."""
    sought = _sought(factors, levels)
    seeds = [_common(one, scores) for one in sought]
    differences = [_differences(one, scores, common) for one, common in zip(sought, seeds, strict=True)]
    raw = raw_p(differences, criteria.margin)
    adjusted = np.empty_like(raw)
    for family, places in _families(sought).items():
        adjusted[:, places] = families.holm(raw[:, places])
        notes += power_note(max(len(seeds[place]) for place in places), len(places), criteria.alpha, family)
    p = np.concatenate([raw, adjusted]).T
    return tuple(_effect(one, seeds[i], differences[i], p[i], criteria) for i, one in enumerate(sought))


@dataclass(frozen=True)
class _Sought:
    """An effect in terms of arms: (sum of the scores of `plus` - sum of the scores of `minus`) / `cells`."""

    kind: Kind
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
    """Return the arm that crosses `level` of the factor at `place` (0 or 1) with the level `other` of the other factor."""
    return CROSSING.join((level, other) if place == 0 else (other, level))


def _common(sought: _Sought, scores: Scores) -> tuple[int, ...]:
    return tuple(sorted(set.intersection(*(set(scores.get(arm, {})) for arm in (*sought.plus, *sought.minus)))))


def _differences(sought: _Sought, scores: Scores, seeds: Sequence[int]) -> Floats:
    """Return (n,) differences, one for each seed. The sums are subtracted before division, so that rounding makes ties equal."""
    plus, minus = (sum(scores_of(scores.get(arm, {}), seeds) for arm in arms) for arms in (sought.plus, sought.minus))
    return statistics.paired_differences(np.asarray(plus), np.asarray(minus)) / sought.cells


def _families(sought: Sequence[_Sought]) -> Mapping[str, list[int]]:
    """Return the places of the effects that are adjusted together (same kind and factor), by the name of the family."""
    families: dict[str, list[int]] = {}
    for place, one in enumerate(sought):
        name = "interactions" if one.kind == "interaction" else f"{one.kind} effects of {one.factor}"
        families.setdefault(name, []).append(place)
    return families


def _effect(sought: _Sought, seeds: tuple[int, ...], differences: Floats, p: Floats, criteria: Criteria) -> Effect:
    """Return one effect; `p` is (4,): sign-flip p and equivalence p, then both adjusted."""
    low, high = statistics.t_interval(differences, 1 - criteria.alpha)
    mean, reason = float(statistics.mean(differences)), too_few(len(seeds), criteria.alpha)
    gain = -mean if criteria.metric.smaller_is_better else mean
    different, equivalent = bool(p[2] <= criteria.alpha), bool(p[3] <= criteria.alpha)
    return Effect(
        kind=sought.kind,
        factor=sought.factor,
        level=sought.level,
        at=sought.at,
        seeds=seeds,
        difference=mean,
        low=float(low),
        high=float(high),
        p=float(p[0]),
        p_holm=float(p[2]),
        p_equivalence=float(p[1]),
        p_equivalence_holm=float(p[3]),
        verdict="no verdict" if reason else _verdict(sought.kind, gain, different, equivalent),
        within_margin=not reason and equivalent,
        reason=reason,
    )


def _verdict(kind: Kind, gain: float, different: bool, equivalent: bool) -> EffectVerdict:
    if kind != "interaction":
        return verdict_of(gain, different, equivalent)
    return "effects differ" if different else "effects alike" if equivalent else "inconclusive"
