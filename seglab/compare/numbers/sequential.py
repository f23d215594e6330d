"""Looks at a study before all declared seeds are done: alpha spent at planned looks, and a p valid after any look."""

from collections.abc import Sequence

import numpy as np
import scipy.stats

from seglab.compare.numbers.statistics import Floats


def spending(looks: Sequence[int], total: int, alpha: float) -> tuple[float, ...]:
    """Return the alpha of each planned look; the alphas add up to `alpha` (Lan & DeMets 1983).

    After a share t of the seeds, α*(t) = 2 - 2Φ(z_{1-α/2} / √t) may be spent in all: little early, as O'Brien & Fleming
    (1979) do. Look j has α_j = α*(n_j/N) - α*(n_{j-1}/N). A difference is shown at look j if its adjusted p there is at
    most α_j. By Bonferroni's inequality the error rate over all looks is at most `alpha`, whatever the dependence of
    the looks. Programs for group sequential designs apply the formula to α/2 on either side, which spends less at early
    looks; both add up to `alpha`.

    Args:
        looks: number of seeds at each look, ascending; the last is `total`.
        total: number N of declared seeds.
        alpha: error rate over all looks.

    Raises:
        ValueError: the looks do not ascend from at least 1 to `total`.
    """
    if not looks or sorted(set(looks)) != list(looks) or looks[0] < 1 or looks[-1] != total:
        raise ValueError(
            f"looks after {list(looks)} seeds: expected ascending numbers of seeds, the last of which is {total}, the declared number"
        )
    shares = np.array([0, *looks], dtype=np.float64) / total
    spent = np.zeros(len(shares))
    spent[1:] = 2 * scipy.stats.norm.sf(scipy.stats.norm.isf(alpha / 2) / np.sqrt(shares[1:]))
    spent[-1] = alpha  # exactly, so that a p that equals alpha is not above it
    return tuple(float(value) for value in np.diff(spent))


def always_valid_p(differences: Floats, sigma0: float) -> Floats:
    """Return p after each pair, valid after any number of looks: (..., n) in the order of the seeds -> (..., n).

    E_n = ⅛ Σ_λ Σ_± Π_i 2 / (1 + exp(∓2λ d_i)) with λ in {¼, ½, 1, 2} / σ0 is a martingale with mean 1 if the sign of
    each difference is fair given its size and the differences before (de la Peña 1999; Ramdas et al. 2020). By Ville's
    inequality it exceeds 1/α at any time with a probability of at most α. The p is the smallest 1/E so far, at most 1.

    Args:
        differences: (..., n) paired differences, in the order in which the seeds were declared.
        sigma0: guess of the standard deviation of a difference, fixed before the first pair. The p holds for any guess;
            a good guess needs fewer pairs.

    Raises:
        ValueError: `sigma0` is not a positive number.
    """
    if not 0 < sigma0 < np.inf:
        raise ValueError(f"sigma0 is {sigma0}: expected a positive number, the likely standard deviation of a difference")
    rates = np.array([0.25, 0.5, 1.0, 2.0]) / sigma0
    signed = np.concatenate([rates, -rates]) * differences[..., None]  # (..., n, 8)
    bets = np.log(2.0) - np.logaddexp(0.0, -2 * signed)
    wealth = np.logaddexp.reduce(np.cumsum(bets, axis=-2), axis=-1) - np.log(8.0)
    return np.exp(-np.maximum(np.maximum.accumulate(wealth, axis=-1), 0.0))
