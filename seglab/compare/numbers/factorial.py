"""Two crossed factors: what each does, and whether the effect of one depends on the other. Paired by seed, as `compare` is.

y_ab is the score of the arm `a+b`, and the baseline `a0+b0` names the level of each factor that the others are held against.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from seglab.compare.numbers.comparison import smaller_is_better
from seglab.compare.numbers.effects import Effect, Levels, effects_of
from seglab.compare.numbers.pairing import Scores, check_comparable, finite_scores
from seglab.compare.numbers.verdicts import check_limits
from seglab.records import CROSSING, Result, levels_of


@dataclass(frozen=True)
class Factorial:
    """The effects of two crossed factors: main effects of the first and the second, interactions, simple effects of the first and the second."""

    study: str
    factors: tuple[str, str]
    levels: Levels
    """Of either factor, the baseline's first."""
    metric: str
    alpha: float
    margin: float
    scores: Scores
    """Arm, then seed; arms without any score are not in it."""
    effects: tuple[Effect, ...]
    notes: tuple[str, ...]

    @property
    def baseline(self) -> str:
        return CROSSING.join((self.levels[0][0], self.levels[1][0]))


def compare_factors(
    results: Sequence[Result],
    *,
    factors: Sequence[str],
    baseline: str,
    metric: str = "test/miou",
    arms: Sequence[str] = (),
    alpha: float = 0.05,
    margin: float = 0.005,
) -> Factorial:
    """Main, simple and interaction effects of two factors that the arms cross as `<level>+<level>`, by the rules of `compare`.

    `arms` are those that were declared, with results or not: so an effect that lacks a cell is shown as one without pairs, and counts
    in its family. An interaction whose adjusted p is at most `alpha` says that the effects differ; else they are alike if the adjusted
    equivalence p is at most `alpha`; else it is inconclusive. ValueError for results that do not belong together, for a baseline that
    is no cell, and for a factor with a single level.
    """
    check_limits(alpha, margin)
    check_comparable(results, baseline)
    if len(factors) != 2:
        raise ValueError(f"factors {list(factors)}: exactly two can be analysed; name two, in the order of the levels in the arms' names")
    notes: list[str] = []
    first, second = factors
    levels = _levels([baseline, *arms, *(result.run.arm for result in results)], (first, second), notes)
    grid = [CROSSING.join((a, b)) for a in levels[0] for b in levels[1]]
    scores = finite_scores([result for result in results if result.run.arm in grid], metric, notes)
    _note_gaps(scores, grid, metric, notes)
    return Factorial(
        study=results[0].run.study,
        factors=(first, second),
        levels=levels,
        metric=metric,
        alpha=alpha,
        margin=margin,
        scores={arm: scores[arm] for arm in grid if scores.get(arm)},
        effects=effects_of((first, second), levels, scores, smaller_is_better(metric), alpha, margin, notes),
        notes=tuple(notes),
    )


def _levels(arms: Sequence[str], factors: tuple[str, str], notes: list[str]) -> Levels:
    """The levels of each factor, those of the baseline, which is the first of `arms`, first; a note for every arm that is no cell."""
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


def _note_gaps(scores: Scores, grid: Sequence[str], metric: str, notes: list[str]) -> None:
    seeds = {seed for arm in scores.values() for seed in arm}
    for arm in grid:
        found = scores.get(arm, {})
        gone = ", ".join(map(str, sorted(seeds - found.keys())))
        if not found:
            notes.append(f"{arm}: no run has {metric}; every effect that needs this cell is without pairs")
        elif gone:
            notes.append(f"{arm}: no {metric} for seed {gone}; left out of every effect that needs this cell")
