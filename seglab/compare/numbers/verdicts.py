"""From adjusted p to a word, by the same rules wherever differences are judged."""

import math
from typing import Literal

from seglab.compare.numbers import statistics

Verdict = Literal["better", "worse", "equivalent", "inconclusive", "no verdict"]


def check_limits(alpha: float, margin: float) -> None:
    """A ValueError unless both can be meant."""
    if not 0 < alpha < 0.5 or not 0 < margin < math.inf:
        raise ValueError(f"alpha {alpha}, margin {margin}: alpha lies between 0 and 0.5, and the margin is above 0")


def verdict_of(gain: float, different: bool, equivalent: bool) -> Verdict:
    """`gain` is positive where the arm is the better one."""
    if different:
        return "better" if gain > 0 else "worse"
    return "equivalent" if equivalent else "inconclusive"


def too_few(pairs: int, alpha: float) -> str:
    """Why there can be no verdict; empty if there are pairs enough for the exact p to reach `alpha`."""
    needed = statistics.pairs_needed(alpha)
    if pairs >= needed:
        return ""
    return f"{pairs} of the {needed} pairs needed: with {pairs} the smallest two-sided exact p is {min(1.0, 2 / 2**pairs):.3g}"


def power_note(pairs: int, tests: int, alpha: float, what: str) -> list[str]:
    """A line if `pairs` suffice for one test and not for the first of a family of `tests`, which are called `what`."""
    needed = statistics.pairs_needed(alpha, tests)
    if not statistics.pairs_needed(alpha) <= pairs < needed:
        return []
    smallest = tests * 2 / 2**pairs
    return [
        f"{pairs} pairs and {tests} {what}: the smallest p after Holm is {tests} × 2/2^{pairs} = {smallest:.3g}, "
        f"so no difference can be shown at {alpha:g}, however large; {needed} pairs could"
    ]
