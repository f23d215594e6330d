"""Arms against one declared baseline, paired by seed. The numbers, what they mean, and everything that was left out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seglab.compare.numbers import statistics
from seglab.compare.numbers.pairing import Scores, check_comparable, common_seeds, finite_scores, scores_of
from seglab.compare.numbers.statistics import Floats
from seglab.compare.numbers.verdicts import Verdict, check_limits, power_note, too_few, verdict_of
from seglab.records import Result


@dataclass(frozen=True)
class Spread:
    """One number over the seeds of an arm, in the metric's own units. NaN where `n` is too small."""

    n: int
    mean: float
    sd: float
    min: float
    max: float


@dataclass(frozen=True)
class ArmSummary:
    """One arm: its score by seed, their spread, and the spread of every secondary number (`val/dice`, `cost/seconds`, ...)."""

    arm: str
    scores: Mapping[int, float]
    score: Spread
    secondary: Mapping[str, Spread]


@dataclass(frozen=True)
class Contrast:
    """One arm against the baseline. `difference` is arm minus baseline in the metric's own units, whatever its direction.

    `superiority` is the share of pairs in which the arm is the better one, so there the direction counts.
    """

    arm: str
    seeds: tuple[int, ...]
    """Those that both arms finished with a score: the pairs."""
    difference: float
    low: float
    high: float
    """t interval at level 1 - alpha, of this contrast alone."""
    p: float
    p_holm: float
    """Exact sign-flip p, and the same adjusted over the contrasts."""
    p_equivalence: float
    p_equivalence_holm: float
    effect_size: float
    superiority: float
    correlation: float
    verdict: Verdict
    within_margin: bool
    """Equivalence holds. A difference can be both real and too small to matter: the verdict is then better or worse, marked by this."""
    reason: str
    """Why there is no verdict; empty if there is one."""


@dataclass(frozen=True)
class Comparison:
    """The answer of a study. `arms` and `contrasts` keep the order of the results, the baseline first."""

    study: str
    baseline: str
    metric: str
    alpha: float
    margin: float
    arms: tuple[ArmSummary, ...]
    contrasts: tuple[Contrast, ...]
    notes: tuple[str, ...]
    """One line for everything that was left out, and for what limits the answer."""


def smaller_is_better(metric: str) -> bool:
    """True for losses, calibration errors, gaps and costs; of the costs, `cost/exact_zeros` is the exception, as zeros are what sparsity is for."""
    kind, _, name = metric.partition("/")
    return name in ("loss", "calibration_error") or kind == "gap" or (kind == "cost" and name != "exact_zeros")


def compare(
    results: Sequence[Result], *, baseline: str, metric: str = "test/miou", alpha: float = 0.05, margin: float = 0.005
) -> Comparison:
    """Compare every arm with `baseline`, seed by seed: sign flips, t interval, Holm over the k - 1 contrasts.

    `margin` is the largest difference that does not matter, in units of the metric (0.005 = 0.5 points of mIoU). A difference is
    better or worse if its adjusted p is at most `alpha`; else equivalent if the adjusted equivalence p is; else inconclusive. With
    too few pairs for the exact p to reach `alpha` (under 6 at 0.05) there are numbers but no verdict. `*/loss` and `cost/*` are to
    be minimised (see `smaller_is_better`). ValueError for results that do not belong together.
    """
    check_limits(alpha, margin)
    check_comparable(results, baseline)
    notes: list[str] = []
    scores = finite_scores(results, metric, notes)
    others = [arm for arm in scores if arm != baseline]
    return Comparison(
        study=results[0].run.study,
        baseline=baseline,
        metric=metric,
        alpha=alpha,
        margin=margin,
        arms=tuple(_summary(arm, scores[arm], results, notes) for arm in (baseline, *others)),
        contrasts=_contrasts(scores, baseline, others, metric, alpha, margin, notes),
        notes=tuple(notes),
    )


def _spread(values: Sequence[float]) -> Spread:
    array = np.asarray(values, dtype=np.float64)
    low, high = (float(array.min()), float(array.max())) if values else (math.nan, math.nan)
    return Spread(len(values), float(statistics.mean(array)), float(statistics.standard_deviation(array)), low, high)


def _summary(arm: str, scores: Mapping[int, float], results: Sequence[Result], notes: list[str]) -> ArmSummary:
    found: dict[str, list[float]] = {}
    for result in (result for result in results if result.run.arm == arm):
        for split, numbers in result.means.items():
            for name, value in numbers.items():
                found.setdefault(f"{split}/{name}", []).append(value)
    secondary = {name: _spread([value for value in values if math.isfinite(value)]) for name, values in found.items()}
    for name, spread in secondary.items():
        if spread.n < len(found[name]):
            notes.append(
                f"{arm}: {name} is undefined in {len(found[name]) - spread.n} of {len(found[name])} runs; its mean leaves them out"
            )
    return ArmSummary(arm, scores, _spread(list(scores.values())), secondary)


def _contrasts(
    scores: Scores, baseline: str, others: Sequence[str], metric: str, alpha: float, margin: float, notes: list[str]
) -> tuple[Contrast, ...]:
    if not others:
        notes.append(f"{baseline} is the only arm with results: there is nothing to compare it with")
        return ()
    seeds = [common_seeds(scores, arm, baseline, metric, notes) for arm in others]
    values = [(scores_of(scores[arm], common), scores_of(scores[baseline], common)) for arm, common in zip(others, seeds, strict=True)]
    differences = [statistics.paired_differences(ours, theirs) for ours, theirs in values]
    p = statistics.sign_flip_each(differences)
    same = np.array([statistics.equivalence_p(difference, margin) for difference in differences])
    p_holm, same_holm = statistics.holm(p), statistics.holm(same)
    notes += power_note(max(map(len, seeds)), len(others), alpha, "contrasts")
    return tuple(
        _contrast(arm, seeds[i], values[i], differences[i], (p[i], p_holm[i], same[i], same_holm[i]), smaller_is_better(metric), alpha)
        for i, arm in enumerate(others)
    )


def _contrast(
    arm: str,
    seeds: tuple[int, ...],
    values: tuple[Floats, Floats],
    differences: Floats,
    p: tuple[float, float, float, float],
    minimise: bool,
    alpha: float,
) -> Contrast:
    low, high = statistics.t_interval(differences, 1 - alpha)
    gains = -differences if minimise else differences
    reason = too_few(len(seeds), alpha)
    return Contrast(
        arm=arm,
        seeds=seeds,
        difference=float(statistics.mean(differences)),
        low=float(low),
        high=float(high),
        p=float(p[0]),
        p_holm=float(p[1]),
        p_equivalence=float(p[2]),
        p_equivalence_holm=float(p[3]),
        effect_size=float(statistics.effect_size(differences)),
        superiority=float(statistics.superiority(gains)),
        correlation=statistics.correlation(*values),
        verdict="no verdict" if reason else verdict_of(float(statistics.mean(gains)), p[1] <= alpha, p[3] <= alpha),
        within_margin=bool(not reason and p[3] <= alpha),
        reason=reason,
    )
