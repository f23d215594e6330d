"""Turn adjusted p values into verdicts. Contrasts of arms and effects of factors follow the same rules."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from seglab.compare.numbers import exact, statistics
from seglab.compare.numbers.statistics import Floats

Verdict = Literal["better", "worse", "equivalent", "inconclusive", "no verdict"]


def raw_p(differences: Sequence[Floats], margin: float | None) -> Floats:
    """Return (2, k): the sign-flip p and the equivalence p of k problems, each an array (n_i,) of paired differences.

    The equivalence p is NaN if there is no margin.
    """
    same = [np.nan if margin is None else float(statistics.equivalence_p(values, margin)) for values in differences]
    return np.array([exact.sign_flip_each(differences), same])


def verdict_of(gain: float, different: bool, equivalent: bool) -> Verdict:
    """Return the verdict on a mean difference; `gain` is positive if the arm is better than the baseline."""
    if different:
        return "better" if gain > 0 else "worse"
    return "equivalent" if equivalent else "inconclusive"


def too_few(pairs: int, alpha: float) -> str:
    """Return the reason why no verdict is possible; an empty text if the exact p of this number of pairs can reach `alpha`."""
    needed = statistics.pairs_needed(alpha)
    if pairs >= needed:
        return ""
    return f"{pairs} of the {needed} pairs needed: with {pairs} the smallest two-sided exact p is {min(1.0, 2 / 2**pairs):.3g}"


def power_note(pairs: int, tests: int, alpha: float, what: str) -> list[str]:
    """Return a note if the pairs suffice for one test, but not for the first of a family of `tests` tests; `what` names the tests."""
    needed = statistics.pairs_needed(alpha, tests)
    if not statistics.pairs_needed(alpha) <= pairs < needed:
        return []
    smallest = tests * 2 / 2**pairs
    return [
        f"{pairs} pairs and {tests} {what}: the smallest p after Holm is {tests} × 2/2^{pairs} = {smallest:.3g}, "
        f"so no difference can be shown at {alpha:g}, however large; {needed} pairs could"
    ]
