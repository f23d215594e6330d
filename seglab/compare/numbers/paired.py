"""Test of paired differences: sign flips over seeds on one split, the corrected t test over overlapping data splits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seglab.compare.numbers import statistics
from seglab.compare.numbers.detectable import detectable
from seglab.compare.numbers.exact import DRAWN_FLIPS, MOST_EXACT, sign_flip_each, sign_flip_interval
from seglab.compare.numbers.resampled import (
    FEWEST_SPLITS,
    resampled_detectable,
    resampled_equivalence_p,
    resampled_interval,
    resampled_p,
)
from seglab.compare.numbers.statistics import Floats


@dataclass(frozen=True)
class PairedTest:
    """Test and interval of the mean of paired differences."""

    test_share: float | None = None
    """n_test/n_train of data splits that overlap; None if all pairs share one split, and are independent given it."""

    def p_each(self, differences: Sequence[Floats]) -> Floats:
        """Return (k,): the two-sided p of k problems, each an array (n_i,) of paired differences."""
        if self.test_share is None:
            return sign_flip_each(differences)
        return np.array([float(resampled_p(own, self.test_share)) for own in differences], dtype=np.float64)

    def equivalence_p(self, differences: Floats, margin: float) -> float:
        """Return p of two one-sided t tests against a margin, for (n,) differences."""
        if self.test_share is None:
            return float(statistics.equivalence_p(differences, margin))
        return float(resampled_equivalence_p(differences, self.test_share, margin))

    def interval(self, differences: Floats, level: float) -> tuple[float, float]:
        """Return the interval of the mean of (n,) differences.

        By sign flips it is infinite if the pairs are too few for the level.
        """
        if self.test_share is None:
            low, high = sign_flip_interval(differences, level)
        else:
            low, high = resampled_interval(differences, self.test_share, level)
        return float(low), float(high)

    def too_few(self, pairs: int, alpha: float) -> str:
        """Return the reason why no verdict is possible; an empty text if there are enough pairs."""
        if self.test_share is not None:
            return "" if pairs >= FEWEST_SPLITS else f"{pairs} of the {FEWEST_SPLITS} data splits needed"
        if smallest_p(pairs) <= alpha:
            return ""
        needed = statistics.pairs_needed(alpha)
        return f"{pairs} of the {needed} pairs needed: with {pairs} the smallest two-sided exact p is {smallest_p(pairs):.3g}"

    def detectable(self, sd: float, pairs: int, tests: int, alpha: float) -> float:
        """Return the smallest true difference that `pairs` pairs show with a power of 80 %.

        The power holds at Holm's first step over `tests` contrasts.
        """
        if self.test_share is None:
            return detectable(sd, pairs, tests, alpha)
        return resampled_detectable(sd, pairs, alpha / tests, self.test_share)


def smallest_p(pairs: int) -> float:
    """Return the smallest sign-flip p of this number of pairs."""
    return min(1.0, 2 / 2**pairs) if pairs <= MOST_EXACT else 1 / (DRAWN_FLIPS + 1)
