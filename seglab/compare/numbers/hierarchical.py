"""Bayesian estimate over data sets: how likely the arm is better, equivalent or worse on the next data set.

Normal hierarchical model (Gelman et al. 2013, Bayesian Data Analysis, §5.4): the mean difference of data set k is D_k ~ N(δ_k, e_k²) with
its standard error e_k, and δ_k ~ N(μ, τ²). The priors of μ and τ are uniform. The region of practical equivalence is the margin, as in
Corani, Benavoli et al. (2017); their model also has heavier tails over the data sets, and it is not the one here.
"""

from dataclasses import dataclass

import numpy as np
import scipy.stats

from seglab.compare.numbers.statistics import Floats

_POINTS = 4000
"""Number of values of τ over which the posterior is summed."""


@dataclass(frozen=True)
class NextSet:
    """Posterior probabilities of the difference δ on a new data set; they add up to 1."""

    below: float
    """P(δ < -margin)."""
    within: float
    """P(|δ| <= margin)."""
    above: float
    """P(δ > margin)."""
    mean: float
    """Posterior mean of μ, the mean difference over all data sets of the kind."""


def next_set(means: Floats, errors: Floats, margin: float) -> NextSet:
    """Return the posterior of the difference on a new data set, by a sum over τ; given τ, the posterior of μ is normal (eq. 5.20, 5.21).

    Args:
        means: (K,) mean differences D_k, for K >= 3 data sets. With fewer the posterior of τ is improper.
        errors: (K,) standard errors e_k > 0. They are taken as known, which is optimistic with few seeds.
        margin: largest difference that does not matter.

    Raises:
        ValueError: there are fewer than 3 data sets, or an error is not above 0.
    """
    if len(means) < 3 or len(means) != len(errors) or not np.all(errors > 0):
        raise ValueError(f"means {list(means)} with errors {list(errors)}: expected at least 3 data sets, and an error above 0 for each")
    scale = float(np.sqrt(np.mean(errors**2) + np.var(means)))
    grid = (np.arange(_POINTS) + 0.5) / _POINTS
    tau = scale * grid / (1 - grid)  # (T,), from 0 to infinity; dτ is proportional to 1/(1 - u)²
    precision = 1 / (errors**2 + tau[:, None] ** 2)  # (T, K)
    variance = 1 / precision.sum(axis=1)
    centre = variance * (precision * means).sum(axis=1)
    log_density = 0.5 * (np.log(variance) + np.log(precision).sum(axis=1) - (precision * (means - centre[:, None]) ** 2).sum(axis=1))
    log_weights = log_density - 2 * np.log1p(-grid)
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    spread = np.sqrt(variance + tau**2)  # of δ on a new data set, given τ
    below, above = (float(weights @ scipy.stats.norm.cdf((-margin + sign * -centre) / spread)) for sign in (1, -1))
    return NextSet(below, 1 - below - above, above, float(weights @ centre))
