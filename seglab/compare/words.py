"""Numbers and verdicts as people read them: percent points, three-figure costs, sentences."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from seglab.compare.numbers.comparison import Comparison, Contrast, Spread, smaller_is_better
from seglab.compare.numbers.factorial import Factorial
from seglab.compare.numbers.statistics import pairs_needed
from seglab.records import StudyRecord

_NAMES = {
    "miou": "mIoU",
    "rare_miou": "mIoU of the rarer classes",
    "fwiou": "frequency-weighted IoU",
    "iou": "IoU",
    "dice": "Dice",
    "boundary_iou": "boundary IoU",
}
_COST_UNITS = {"seconds": "s", "training_seconds": "s", "peak_memory_mib": "MiB"}
UNDEFINED = "–"


@dataclass(frozen=True)
class Unit:
    """How a metric is printed: its value times `factor`, with `digits` decimals (None: four significant digits)."""

    factor: float
    level: str
    """The unit of a value, as `%`."""
    step: str
    """The unit of a difference, as `points`."""
    digits: int | None


def unit(metric: str) -> Unit:
    """Scores in [0, 1] and the fraction of zeros in percent; losses and costs as they are."""
    kind, _, name = metric.partition("/")
    if metric == "cost/exact_zeros" or (kind != "cost" and not metric.endswith("/loss")):
        return Unit(100.0, "%", "points", 2)
    plain = _COST_UNITS.get(name, "") if kind == "cost" else ""
    return Unit(1.0, plain, plain, None)


def metric_name(metric: str) -> str:
    """`test/miou` as `test mIoU`, `test/iou/car` as `test IoU of car`."""
    split, _, rest = metric.partition("/")
    name, _, label = rest.partition("/")
    return f"{'train–val gap of' if split == 'gap' else split} {_NAMES.get(name, name.replace('_', ' '))}{f' of {label}' if label else ''}"


def number(value: float, digits: int | None) -> str:
    """With a true minus sign; an en dash for NaN; four significant digits if `digits` is None."""
    if math.isnan(value):
        return UNDEFINED
    text = f"{value:.{digits}f}" if digits is not None else f"{value:.4g}"
    return f"−{text[1:]}" if text.startswith("-") and float(text) != 0 else text.removeprefix("-")


def signed(value: float, digits: int | None) -> str:
    """As `number`, with a plus sign where it is above zero."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and float(text) != 0 else text


def spread(values: Spread, metric: str) -> str:
    """`63.21 ±0.45`: mean and standard deviation over the seeds."""
    how = unit(metric)
    mean = number(values.mean * how.factor, how.digits)
    return mean if math.isnan(values.sd) else f"{mean} ±{number(values.sd * how.factor, how.digits)}"


def p_value(p: float) -> str:
    """Three decimals; `<.001` below; a dash for NaN."""
    return UNDEFINED if math.isnan(p) else "<.001" if p < 0.001 else f"{p:.3f}"


def interval(low: float, high: float, metric: str) -> str:
    """`[−1.61, −0.79]` in the unit of differences; empty if it is undefined."""
    how = unit(metric)
    return "" if math.isnan(low) else f"[{signed(low * how.factor, how.digits)}, {signed(high * how.factor, how.digits)}]"


def margin(judged: Comparison | Factorial) -> str:
    """`±0.5 points`."""
    how = unit(judged.metric)
    return f"±{judged.margin * how.factor:g} {how.step}".rstrip()


def sentence(contrast: Contrast, comparison: Comparison) -> str:
    """The verdict of one contrast in plain words, with its numbers."""
    arm, base, how, seeds = contrast.arm, comparison.baseline, unit(comparison.metric), len(contrast.seeds)
    if seeds == 0:
        return f"{arm} and {base} have no seed in common: there is nothing to compare."
    over = f"over {seeds} seed{'s' if seeds > 1 else ''}"
    size = f"{signed(contrast.difference * how.factor, how.digits)} {how.step}".rstrip()
    level = f"{100 * (1 - comparison.alpha):g} % interval {range_of(contrast.low * how.factor, contrast.high * how.factor, how.digits)}"
    numbers = f"({level}), adjusted {equals(contrast.p_holm)} {over}" if not math.isnan(contrast.low) else over
    if contrast.verdict in ("better", "worse"):
        small = f" The difference is real, but within the margin of {margin(comparison)}." if contrast.within_margin else ""
        amount = f"{number(abs(contrast.difference) * how.factor, how.digits)} {how.step}".rstrip()
        return f"{arm} is {contrast.verdict} than {base} by {amount} {numbers}.{small}"
    if contrast.verdict == "equivalent":
        same = f"adjusted {equals(contrast.p_equivalence_holm)} {over}"
        return f"{arm} and {base} are equivalent within {margin(comparison)}: {size} ({level}), {same}."
    if contrast.verdict == "inconclusive":
        shown = f"Neither a difference nor equivalence within {margin(comparison)} is shown."
        return f"{arm} against {base} is inconclusive: {size} {numbers}. {shown}"
    return f"{arm} against {base} has no verdict: {size} {over}, {contrast.reason}."


def range_of(low: float, high: float, digits: int | None) -> str:
    """`−1.61 to −0.79`."""
    return f"{signed(low, digits)} to {signed(high, digits)}"


def equals(p: float) -> str:
    """`p = 0.016`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def protocol(comparison: Comparison) -> tuple[str, ...]:
    """How the numbers came about, one sentence a line."""
    direction = "smaller is better" if smaller_is_better(comparison.metric) else "larger is better"
    return (
        f"The measure is {metric_name(comparison.metric)} ({direction}).",
        "One training run is one observation; an arm meets the baseline seed by seed, as equal seeds share initialisation and data order.",
        "Tested once, on the last weights, never on weights or settings chosen on the test split.",
        "p is the two-sided sign-flip p of the paired differences, exact up to 15 pairs, adjusted over the declared contrasts (Holm).",
        f"Better or worse: p at most {comparison.alpha:g}. Else equivalent: within {margin(comparison)} by two one-sided t tests (Holm).",
        "Else inconclusive: a large p never means that two arms are equal.",
        f"Intervals are {100 * (1 - comparison.alpha):g} % t intervals of the mean paired difference, each for its own contrast.",
        f"Under {pairs_needed(comparison.alpha)} pairs there is no verdict: with n pairs the smallest possible p is 2/2ⁿ.",
    )


def tuning(record: StudyRecord | None) -> str | None:
    """How the setting of each arm was chosen, and which: one sentence; None for a study that tunes nothing."""
    budget = None if record is None else record.shared.get("tuning")
    if record is None or not isinstance(budget, Mapping):
        return None
    seeds, settings = ", ".join(map(str, budget.get("seeds", ()))), budget.get("settings")
    own = {arm: described.get("tuning") for arm, described in record.arms.items()}
    chosen = "; ".join(f"{arm} {choice.get('chosen')}" for arm, choice in own.items() if isinstance(choice, Mapping))
    return f"Tuned: {settings} settings each, on {metric_name(str(budget.get('metric')))} over seeds {seeds}. Chosen: {chosen}."
