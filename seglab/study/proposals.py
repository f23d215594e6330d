"""Sequential search: propose settings from the scores of earlier settings, by a tree-structured Parzen estimator.

J. Bergstra, R. Bardenet, Y. Bengio, B. Kégl, "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011. Optuna
computes the proposals; it is an optional dependency, `seglab[tuning]`.

Settings are proposed in rounds, not one by one, so that several workers have something to do. A round is a function of
the search and of the scores of all earlier rounds alone. It depends neither on the order in which runs end nor on their
machines.
"""

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass

from seglab.given import check_whole
from seglab.study.space import Choice, LogRange, Space, Values, check_space, halton_candidates, name_of

ATTEMPTS = 100
"""Number of times that the estimator is asked for a setting that has not been tried. A small space of choices may have
none left.
"""


@dataclass(frozen=True)
class Search:
    """A sequential search: the space, the number of settings, and the rounds in which they are proposed.

    Raises:
        ValueError: Optuna is not installed, there are fewer trials than rounds, or the space is empty.
    """

    space: Space
    trials: int
    rounds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_space(self.space)
        check_whole("sequential search: trials", self.trials)
        check_whole("sequential search: rounds", self.rounds)
        if self.rounds < 2 or self.trials < self.rounds:
            raise ValueError(
                f"sequential search: {self.trials} trials in {self.rounds} rounds; expected 2 rounds or more, and a trial or more in each "
                "(one round is `halton_candidates`)"
            )
        if importlib.util.find_spec("optuna") is None:
            raise ValueError(
                "sequential search needs Optuna, which is not installed: pip install 'seglab[tuning]', or draw the settings by halton_candidates"
            )

    @property
    def sizes(self) -> list[int]:
        """Number of settings in each round; the sizes differ by at most 1."""
        return [self.trials // self.rounds + (place < self.trials % self.rounds) for place in range(self.rounds)]

    def next_size(self, tried: int) -> int:
        """Return the number of settings in the round that follows `tried` settings; 0 after the last round."""
        done = 0
        for size in self.sizes:
            if done == tried:
                return size
            done += size
        return 0


@dataclass(frozen=True)
class Trial:
    """A candidate that has been tried, and its score: larger is better, and -inf if a run diverged."""

    candidate: Values
    score: float


def propose(search: Search, trials: Sequence[Trial]) -> list[Values]:
    """Return the candidates of the next round; none after the last one.

    Args:
        search: the search.
        trials: all candidates so far in the order in which they were proposed. Their number is that of whole rounds.
    """
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    space: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(list(range_.values))
        if isinstance(range_, Choice)
        else FloatDistribution(range_.low, range_.high, log=isinstance(range_, LogRange))
        for name, range_ in search.space.items()
    }
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        sampler = optuna.samplers.TPESampler(n_startup_trials=0, seed=search.seed + len(trials))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        worst = min((trial.score for trial in trials if math.isfinite(trial.score)), default=0.0)
        for trial in trials:
            score = trial.score if math.isfinite(trial.score) else worst - 1.0
            study.add_trial(optuna.trial.create_trial(params=dict(trial.candidate), distributions=space, value=score))
        known = {name_of(trial.candidate) for trial in trials}
        found: list[Values] = []
        for _ in range(ATTEMPTS):
            if len(found) == search.next_size(len(trials)):
                return found
            asked = study.ask(space).params
            candidate = {name: asked[name] for name in search.space}
            if name_of(candidate) not in known:
                known.add(name_of(candidate))
                found.append(candidate)
    finally:
        optuna.logging.set_verbosity(level)
    return _filled(search, found, known, search.next_size(len(trials)))


def _filled(search: Search, found: list[Values], known: set[str], size: int) -> list[Values]:
    """Return `found` with candidates of a quasi-random sequence that have not been tried, up to `size`."""
    for candidate in halton_candidates(search.space, search.trials + ATTEMPTS):
        if len(found) < size and name_of(candidate) not in known:
            known.add(name_of(candidate))
            found.append(candidate)
    if len(found) < size:
        raise ValueError(
            f"sequential search: the space has fewer than {search.trials} different settings; give fewer trials, or a wider range"
        )
    return found
