"""Seeds on which verdicts rest, and when verdicts are given: once, at planned looks, or after any number of seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from seglab.compare.criteria import Criteria
from seglab.compare.numbers.sequential import spending
from seglab.records import Result, Run

Ending = Literal["diverged", "failed", "open"]
"""State of a run without a result. A diverged run has a NaN or infinite loss or weight. A failed run ended with another
error, and an open run is still to be done.
"""
Endings = Mapping[Run, Ending]
"""State of each run that has no result. A declared run that is neither here nor among the results is open."""


@dataclass(frozen=True)
class Look:
    """Seeds that are compared together, and the level at which they are judged."""

    seeds: tuple[int, ...]
    alpha: float
    """Largest adjusted p of a verdict at this look."""
    reason: str = ""
    """Reason why no verdict is given; empty if verdicts are given."""


def reached_looks(results: Sequence[Result], criteria: Criteria, endings: Endings) -> list[Look]:
    """Return the looks at which verdicts are given so far, in their order; if there is none, one look with the reason.

    Without declared seeds there is one look at all seeds that have a result or a diverged run.
    """
    declared = criteria.declared
    if declared is None or not declared.seeds:
        diverged = {run.seed for run, ending in endings.items() if ending == "diverged"}
        return [Look(tuple(sorted({result.run.seed for result in results} | diverged)), criteria.alpha)]
    done = _settled(results, declared.arms, endings)
    complete, total = [seed for seed in declared.seeds if done(seed)], len(declared.seeds)
    interim = f"interim: {len(complete)} of {total} seeds are done in all arms"
    first = tuple(takewhile(done, declared.seeds))
    if criteria.always_valid:
        return [Look(first, criteria.alpha)] if first else [Look(declared.seeds, criteria.alpha, interim)]
    planned = planned_looks(criteria)
    reached = [look for look in planned if len(look.seeds) <= len(first)]
    waits = f"{interim}; the first look is at {len(planned[0].seeds)}" if len(planned) > 1 else interim
    return reached if reached else [Look(declared.seeds, criteria.alpha, waits)]


def look_notes(looks: Sequence[Look], criteria: Criteria) -> list[str]:
    """Return a line on planned looks, or on tests that hold after any number of seeds.

    Return no line for a single look at all seeds, or while no verdict is given.
    """
    declared = criteria.declared
    if declared is None or looks[-1].reason:
        return []
    if criteria.always_valid:
        return [
            f"tests that hold after any number of seeds, here {len(looks[-1].seeds)}: p of an e-process, scaled by the margin. No arm is called "
            "equivalent, and the intervals hold for this number of seeds alone"
        ]
    if not declared.looks:
        return []
    planned = ", ".join(f"{len(look.seeds)} ({look.alpha:.2g})" for look in planned_looks(criteria))
    return [
        f"planned looks at numbers of seeds, each with its largest adjusted p of a verdict: {planned}. This is the look at "
        f"{len(looks[-1].seeds)} seeds; a verdict of an earlier look stands, with the numbers of that look"
    ]


def planned_looks(criteria: Criteria) -> list[Look]:
    """Return all looks, reached or not; the last is at all declared seeds.

    An amendment can leave fewer seeds than a look needs.
    """
    seeds = () if criteria.declared is None else criteria.declared.seeds
    if criteria.declared is None or not seeds:
        return []
    sizes = (*(look for look in criteria.declared.looks if look < len(seeds)), len(seeds))
    return [Look(seeds[:size], alpha) for size, alpha in zip(sizes, spending(sizes, len(seeds), criteria.alpha), strict=True)]


def _settled(results: Sequence[Result], arms: Sequence[str], endings: Endings) -> Callable[[int], bool]:
    """Return a function that tells whether no run of the arms is open under a seed."""
    settled = {(result.run.arm, result.run.seed) for result in results}
    settled |= {(run.arm, run.seed) for run, ending in endings.items() if ending != "open"}
    return lambda seed: all((arm, seed) in settled for arm in arms)
