"""Analyse two crossed factors: the effect of each, and whether the effect of one depends on the other.

y_ab is the score of the arm `a+b`. The baseline `a0+b0` names the reference level of each factor. Scores are paired by
seed, as in `compare`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from seglab.compare.criteria import Criteria
from seglab.compare.declared import shown_seeds
from seglab.compare.metric import Metric
from seglab.compare.numbers.comparison import diverged_seeds
from seglab.compare.numbers.contrasts import NO_COST
from seglab.compare.numbers.effects import Crossed, Effect, Levels, effects_of
from seglab.compare.numbers.looks import Endings, Look, reached_looks
from seglab.compare.numbers.pairing import ArmScores, check_comparable, finite_scores
from seglab.compare.numbers.verdicts import worst_cases
from seglab.records import CROSSING, Result, levels_of


@dataclass(frozen=True)
class Factorial:
    """Effects of two crossed factors."""

    study: str
    factors: tuple[str, str]
    levels: Levels
    criteria: Criteria
    scores: ArmScores
    """Scores by arm and seed. Arms without any score are left out."""
    effects: tuple[Effect, ...]
    """Main effects of both factors, interactions, simple effects of both factors."""
    notes: tuple[str, ...]


def compare_factors(
    results: Sequence[Result], factors: Sequence[str], criteria: Criteria, arms: Sequence[str] = (), endings: Endings | None = None
) -> Factorial:
    """Return main, simple and interaction effects of two factors, by the rules of `compare`.

    Args:
        results: runs of arms that are named `<level>+<level>`.
        factors: names of the two factors, in the order of the levels in the names of the arms.
        criteria: metric, baseline and limits.
        arms: declared arms, with or without results. An effect that needs an arm without results has no pairs, and
            counts in its family.
        endings: state of each run that has no result, as in `compare`.

    Main effects and interactions are one family (Holm). Simple effects get verdicts only where their interaction is
    shown.

    An interaction whose adjusted p is at most alpha means that the effects differ. Otherwise they are alike if the
    adjusted equivalence p is at most alpha. Otherwise the interaction is inconclusive.

    Raises:
        ValueError: the results do not belong together, the baseline is no cell of the factors, or a factor has a single
            level.
    """
    check_comparable(results, criteria.baseline, criteria.tunings)
    if len(factors) != 2:
        raise ValueError(f"factors {list(factors)}: exactly two can be analysed; name two, in the order of the levels in the arms' names")
    notes: list[str] = []
    first, second = factors
    levels = _levels([criteria.baseline, *arms, *(result.run.arm for result in results)], (first, second), notes)
    grid = [CROSSING.join((a, b)) for a in levels[0] for b in levels[1]]
    endings = {} if endings is None else endings
    look = reached_looks(results, criteria, endings)[-1]
    judged = [result for result in results if result.run.arm in grid and result.run.seed in look.seeds]
    scores = finite_scores(judged, criteria.metric, notes)
    _note_gaps(scores, grid, criteria.metric, notes)
    worst = worst_cases(scores, diverged_seeds(endings, look.seeds), criteria.metric)
    return Factorial(
        study=results[0].run.study,
        factors=(first, second),
        levels=levels,
        criteria=criteria,
        scores={arm: scores[arm] for arm in grid if scores.get(arm)},
        effects=effects_of(Crossed((first, second), levels, scores, worst, criteria, _reason(look, criteria)), notes),
        notes=tuple(notes),
    )


def _reason(look: Look, criteria: Criteria) -> str:
    """Return the reason why no effect gets a verdict; effects are judged once, when all declared seeds are done."""
    declared = criteria.declared
    if look.reason or declared is None or not declared.seeds:
        return look.reason or ("" if criteria.judges else NO_COST)
    if criteria.always_valid:
        return "tests that hold after any number of seeds are for the contrasts of arms only"
    if len(look.seeds) < len(declared.seeds):
        return f"interim: {len(look.seeds)} of {len(declared.seeds)} seeds are done in all arms; effects are judged once, after all seeds"
    return "" if criteria.judges else NO_COST


def _levels(arms: Sequence[str], factors: tuple[str, str], notes: list[str]) -> Levels:
    """Return the levels of each factor, and append a note for every arm that is no cell.

    The first arm is the baseline.
    """
    cells = {arm: levels for arm in arms if len(levels := levels_of(arm)) == 2 and all(levels)}
    crossed = " × ".join(factors)
    if arms[0] not in cells:
        raise ValueError(f"the baseline {arms[0]!r} is no cell of {crossed}: a cell is named <{factors[0]}>{CROSSING}<{factors[1]}>")
    notes += [f"{arm}: is no cell of {crossed}; left out of its effects" for arm in dict.fromkeys(arms) if arm not in cells]
    first, second = (tuple(dict.fromkeys(levels[place] for levels in cells.values())) for place in range(2))
    for factor, levels in zip(factors, (first, second), strict=True):
        if len(levels) == 1:
            raise ValueError(f"factor {factor!r} has the single level {levels[0]!r} so far: effects need runs of another")
    return first, second


def _note_gaps(scores: ArmScores, grid: Sequence[str], metric: Metric, notes: list[str]) -> None:
    seeds = {seed for arm in scores.values() for seed in arm}
    for arm in grid:
        found = scores.get(arm, {})
        gone = sorted(seeds - found.keys())
        if not found:
            notes.append(f"{arm}: no run has {metric}; every effect that needs this cell is without pairs")
        elif gone:
            notes.append(f"{arm}: no {metric} for {shown_seeds(gone)}; left out of every effect that needs this cell")
