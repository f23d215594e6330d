"""First screen of the report: what limits the answer, the verdicts in brief, and what the seeds could have shown."""

import math
from dataclasses import dataclass

from seglab.compare.declared import amendment_note
from seglab.compare.findings import Findings
from seglab.compare.numbers.answer import Comparison
from seglab.compare.numbers.paired import PairedTest
from seglab.compare.wording import verdict

MOST_SENTENCES = 6
"""Largest number of contrasts whose sentences are all on the first screen."""

MOST_NAMES = 12
"""Largest number of arms that are named behind one verdict."""


@dataclass(frozen=True)
class Front:
    """Texts of the first screen."""

    warnings: tuple[str, ...]
    """One line for each amendment, one if the comparison is exploratory, and one if it is interim."""
    summary: tuple[tuple[str, str], ...]
    """Each verdict, and the arms that have it."""
    detectable: tuple[str, ...]
    """Lines that say which true difference the seeds show with 80 % power."""
    folded: bool
    """True if there are so many contrasts that their sentences are folded."""


def front(found: Findings) -> Front:
    """Return the texts of the first screen."""
    comparison = found.comparison
    return Front(_warnings(found), _summary(comparison), _detectable(comparison), len(comparison.contrasts) > MOST_SENTENCES)


def _warnings(found: Findings) -> tuple[str, ...]:
    criteria, record = found.criteria, found.study.record
    exploratory = [f"Exploratory: not the declared comparison, but {'; '.join(criteria.deviations)}."] if criteria.exploratory else []
    interim = dict.fromkeys(contrast.reason for contrast in found.comparison.contrasts if contrast.reason.startswith("interim"))
    amended = [] if record is None else map(amendment_note, record.amendments)
    return (*exploratory, *(f"{text[0].upper()}{text[1:]}." for text in interim), *(f"{text[0].upper()}{text[1:]}" for text in amended))


def _summary(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    arms: dict[str, list[str]] = {}
    for contrast in comparison.contrasts:
        arms.setdefault(verdict(contrast), []).append(contrast.arm)
    return tuple((name, _named(own)) for name, own in arms.items())


def _named(arms: list[str]) -> str:
    """Return the first names of a list, and the number of the others."""
    more = len(arms) - MOST_NAMES
    return ", ".join(arms) if more <= 0 else f"{', '.join(arms[:MOST_NAMES])} and {more} more"


def _detectable(comparison: Comparison) -> tuple[str, ...]:
    """Return a sentence on the smallest and the largest difference that a contrast can show.

    The spread of a contrast's own paired differences determines what the contrast can show.
    """
    criteria, unit = comparison.criteria, comparison.criteria.metric.unit
    judged = [contrast for contrast in comparison.contrasts if contrast.sd_difference > 0 and contrast.verdict != "no verdict"]
    if not judged or criteria.always_valid:  # a test that holds after any number of seeds has another power
        return ()
    tests, test = comparison.tests, PairedTest(criteria.test_share)
    found = {contrast.arm: test.detectable(contrast.sd_difference, contrast.pairs, tests, contrast.alpha) for contrast in judged}
    finite = {arm: size for arm, size in found.items() if math.isfinite(size)}
    if not finite:
        return ("Detectable: nothing. The pairs are too few to show any difference, however large.",)
    least, most = min(finite, key=finite.__getitem__), max(finite, key=finite.__getitem__)
    size = f"{unit.amount(finite[least])} ({least})"
    if len(finite) > 1:
        size = f"{unit.amount(finite[least])} ({least}) to {unit.amount(finite[most])} ({most})"
    units = "seeds and data splits" if criteria.splits else "tunings" if criteria.tunings > 1 else "seeds"
    return (f"Detectable: these {units} show a true difference of {size} with 80 % power, after the adjustment for all arms.",)
