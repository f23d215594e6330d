"""The effects of two crossed factors as contrasts of arms, and their statistics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seglab.compare.numbers import statistics
from seglab.compare.numbers.pairing import Scores, scores_of
from seglab.compare.numbers.statistics import Floats
from seglab.compare.numbers.verdicts import Verdict, power_note, too_few, verdict_of
from seglab.records import CROSSING

Kind = Literal["main", "interaction", "simple"]
EffectVerdict = Verdict | Literal["effects differ", "effects alike"]
Levels = tuple[tuple[str, ...], tuple[str, ...]]
"""Of the first and the second factor; in front the level that the others are held against."""


@dataclass(frozen=True)
class Effect:
    """What one level of a factor changes, held against the baseline's. `difference` is in the metric's own units, whatever its direction.

    - main: mean over all levels b of the other factor of y_ab - y_a0b;
    - simple: y_ab - y_a0b at the one level b that `at` names;
    - interaction: (y_ab - y_a0b) - (y_ab0 - y_a0b0), the simple effect at `at` less that at the baseline's level.
    """

    kind: Kind
    factor: str
    """Whose level changes. An interaction is the same number with the factors exchanged; it is given under the first."""
    level: str
    at: str
    """The level of the other factor; empty for a main effect."""
    seeds: tuple[int, ...]
    """Those for which every arm involved has a score: the pairs."""
    difference: float
    low: float
    high: float
    """t interval at level 1 - alpha, of this effect alone."""
    p: float
    p_holm: float
    """Exact sign-flip p, and the same adjusted over the effects of this kind and factor."""
    p_equivalence: float
    p_equivalence_holm: float
    verdict: EffectVerdict
    """Of an interaction, whether the two effects that it compares differ: which of them is better says their simple effects."""
    within_margin: bool
    """Equivalence holds; a difference can be both real and too small to matter."""
    reason: str
    """Why there is no verdict; empty if there is one."""


def effects_of(
    factors: tuple[str, str], levels: Levels, scores: Scores, minimise: bool, alpha: float, margin: float, notes: list[str]
) -> tuple[Effect, ...]:
    """Main effects of the first and the second factor, interactions, simple effects of the first and the second."""
    sought = _sought(factors, levels)
    seeds = [_common(one, scores) for one in sought]
    differences = [_differences(one, scores, common) for one, common in zip(sought, seeds, strict=True)]
    raw = np.array([statistics.sign_flip_each(differences), [statistics.equivalence_p(values, margin) for values in differences]])
    adjusted = np.empty_like(raw)
    for family, places in _families(sought).items():
        adjusted[:, places] = statistics.holm(raw[:, places])
        notes += power_note(max(len(seeds[place]) for place in places), len(places), alpha, family)
    p = np.concatenate([raw, adjusted]).T
    return tuple(_effect(one, seeds[i], differences[i], p[i], minimise, alpha) for i, one in enumerate(sought))


@dataclass(frozen=True)
class _Sought:
    """An effect as arms: (the sum of `plus` less the sum of `minus`) / `cells`."""

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
    """The arm of a level of the first (0) or the second (1) factor and a level of the other."""
    return CROSSING.join((level, other) if place == 0 else (other, level))


def _common(sought: _Sought, scores: Scores) -> tuple[int, ...]:
    return tuple(sorted(set.intersection(*(set(scores.get(arm, {})) for arm in (*sought.plus, *sought.minus)))))


def _differences(sought: _Sought, scores: Scores, seeds: Sequence[int]) -> Floats:
    """(n,) of a seed each. Sums are subtracted before the mean is taken, so that what is equal on paper is rounded to be equal."""
    plus, minus = (sum(scores_of(scores.get(arm, {}), seeds) for arm in arms) for arms in (sought.plus, sought.minus))
    return statistics.paired_differences(np.asarray(plus), np.asarray(minus)) / sought.cells


def _families(sought: Sequence[_Sought]) -> Mapping[str, list[int]]:
    """What is adjusted together: the places of the effects of one kind and factor, by what they are called."""
    families: dict[str, list[int]] = {}
    for place, one in enumerate(sought):
        name = "interactions" if one.kind == "interaction" else f"{one.kind} effects of {one.factor}"
        families.setdefault(name, []).append(place)
    return families


def _effect(sought: _Sought, seeds: tuple[int, ...], differences: Floats, p: Floats, minimise: bool, alpha: float) -> Effect:
    low, high = statistics.t_interval(differences, 1 - alpha)
    mean, reason = float(statistics.mean(differences)), too_few(len(seeds), alpha)
    different, equivalent = bool(p[2] <= alpha), bool(p[3] <= alpha)
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
        verdict="no verdict" if reason else _verdict(sought.kind, -mean if minimise else mean, different, equivalent),
        within_margin=not reason and equivalent,
        reason=reason,
    )


def _verdict(kind: Kind, gain: float, different: bool, equivalent: bool) -> EffectVerdict:
    if kind != "interaction":
        return verdict_of(gain, different, equivalent)
    return "effects differ" if different else "effects alike" if equivalent else "inconclusive"
