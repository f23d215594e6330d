"""Table of a comparison: one row for each arm."""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group

from seglab.compare import wording
from seglab.compare.metric import Metric
from seglab.compare.numbers.answer import ArmSummary, Comparison
from seglab.compare.numbers.contrasts import Contrast
from seglab.compare.numbers.improvement import wilson_interval
from seglab.compare.tables.column import Block, Column, Table, escaped, to_group, to_pipes
from seglab.compare.unit import UNDEFINED, number, p_value, signed

if TYPE_CHECKING:
    import pandas as pd

TRAIN, VAL, GAP = (Metric(split, "miou") for split in ("train", "val", "gap"))


class ArmRow(NamedTuple):
    """An arm, and its contrast; None for the baseline."""

    arm: ArmSummary
    contrast: Contrast | None


def columns(comparison: Comparison) -> list[Column[ArmRow]]:
    """Return the columns of the main table, from left to right."""
    criteria = comparison.criteria
    metric = criteria.metric
    return [
        Column("arm", lambda row: row.arm.arm, align="left", wraps=True),
        Column("n", lambda row: str(row.arm.score.n)),
        *_diverged(comparison),
        Column(metric.heading, lambda row: metric.unit.mean_and_sd(row.arm.score.mean, row.arm.score.sd)),
        *_companion(comparison),
        Column(
            f"difference [{criteria.level}]", lambda row: "baseline" if row.contrast is None else wording.difference(row.contrast, metric)
        ),
        Column("p", lambda row: "" if row.contrast is None else p_value(_judged_p(row.contrast))),
        Column(_heading(comparison), lambda row: "" if row.contrast is None else wording.verdict(row.contrast), align="left", verdict=True),
        Column("zeros %", _mean("cost/exact_zeros", lambda mean: number(100 * mean, 1))),
        Column("s/run", _mean("cost/seconds", lambda mean: number(mean, 0 if mean >= 100 else 1))),
    ]


def arm_table(comparison: Comparison) -> Table[ArmRow]:
    """Return the main table, the baseline in its first row."""
    contrasts = {contrast.arm: contrast for contrast in comparison.contrasts}
    baseline = comparison.criteria.baseline
    return Table(
        columns(comparison),
        [Block("", [ArmRow(arm, contrasts.get(arm.arm)) for arm in comparison.arms])],
        legend=_legend(comparison),
        title=f"{comparison.study}: {_title(comparison)}",
        remarks=_remarks(comparison),
        kind=lambda row: "baseline" if row.arm.arm == baseline else "",
    )


def detail_table(comparison: Comparison) -> Table[Contrast]:
    """Return the statistics of each contrast for which the main table has no room."""
    criteria, unit = comparison.criteria, comparison.criteria.metric.unit
    level = 1 - criteria.alpha if criteria.splits is None else None  # Wilson's interval takes the pairs for independent
    wilson = "" if level is None else ", and Wilson's interval"
    simultaneous = 100 - float(f"{100 * criteria.alpha / comparison.tests:.2g}")  # 99.958, where three digits would print 100
    return Table(
        [
            Column("arm", lambda contrast: contrast.arm, align="left"),
            Column("pairs", lambda contrast: str(contrast.pairs)),
            Column("p", lambda contrast: p_value(contrast.p)),
            Column("p (Holm)", lambda contrast: p_value(contrast.p_holm)),
            Column(
                f"simultaneous [{simultaneous:.8g} %]",
                lambda contrast: unit.interval(contrast.low_simultaneous, contrast.high_simultaneous),
            ),
            Column("equivalence p (Holm)", lambda contrast: p_value(contrast.p_equivalence_holm)),
            Column("d_z", lambda contrast: signed(contrast.effect_size, 2)),
            Column("P(better)" if criteria.splits else f"P(better) [{criteria.level}]", lambda contrast: _superiority(contrast, level)),
            Column("ρ", lambda contrast: signed(contrast.correlation, 2)),
        ],
        [Block("", comparison.contrasts)],
        legend="Simultaneous: intervals that cover all differences together (Bonferroni); none if the pairs are too few. d_z: mean difference in standard deviations of the differences. P(better): share of the pairs in which the arm is the better one, "
        f"ties counting half{wilson}. ρ: how alike the two arms react to a seed; the higher, the more the pairing gains.",
    )


def _superiority(contrast: Contrast, level: float | None) -> str:
    """Return P(better) with its interval; without one if `level` is None."""
    if math.isnan(contrast.superiority):
        return UNDEFINED
    if level is None:
        return number(contrast.superiority, 2)
    low, high = wilson_interval(contrast.superiority, contrast.pairs, level)
    return f"{number(contrast.superiority, 2)} [{number(low, 2)}, {number(high, 2)}]"


def fit_table(comparison: Comparison) -> Table[ArmSummary]:
    """Return each arm's mIoU on training images, mIoU on validation images, and the gap between them.

    Arms that were not scored on training images are left out.
    """
    return Table(
        [
            Column("arm", lambda arm: arm.arm, align="left"),
            Column(f"{TRAIN.title} %", lambda arm: _spread(arm, TRAIN)),
            Column(f"{VAL.title} %", lambda arm: _spread(arm, VAL)),
            Column("gap, points", lambda arm: _spread(arm, GAP)),
        ],
        [Block("", [arm for arm in comparison.arms if str(GAP) in arm.secondary])],
        legend="Mean ± standard deviation over the seeds, on the last weights: as many training images as there are validation images, both "
        "without augmentation. A large gap is over-fitting, or validation images that are unlike; two low scores are under-fitting.",
    )


def to_table(comparison: Comparison) -> Group:
    """Return the main table for `rich.console.Console().print`: at most 100 columns wide, complete without colour."""
    return to_group(arm_table(comparison))


def to_markdown(comparison: Comparison) -> str:
    """Return the main table as Markdown, for a README or a pull request."""
    return to_pipes(arm_table(comparison), f"**{escaped(comparison.study)}**: {escaped(_title(comparison))}")


def to_frame(comparison: Comparison) -> "pd.DataFrame":
    """Return every number in raw units, one row for each arm; the baseline has no contrast."""
    import pandas as pd

    contrasts = {contrast.arm: asdict(contrast) for contrast in comparison.contrasts}
    records = [
        {"arm": arm.arm}
        | asdict(arm.score)
        | {key: value for key, value in contrasts.get(arm.arm, {}).items() if key != "arm"}
        | {name: spread.mean for name, spread in arm.secondary.items()}
        for arm in comparison.arms
    ]
    return pd.DataFrame.from_records(records).set_index("arm")


def _title(comparison: Comparison) -> str:
    criteria = comparison.criteria
    own = " (exploratory: not the declared comparison)" if criteria.exploratory else ""
    return f"{criteria.metric.title} against {criteria.baseline}{own}"


def _heading(comparison: Comparison) -> str:
    return "exploratory" if comparison.criteria.exploratory else "verdict"


def _judged_p(contrast: Contrast) -> float:
    """Return the p on which the verdict rests."""
    return contrast.p_equivalence_holm if contrast.verdict == "equivalent" else contrast.p_holm


def _diverged(comparison: Comparison) -> list[Column[ArmRow]]:
    """Return a column with the number of diverged runs, if there is one."""
    if not any(arm.diverged for arm in comparison.arms):
        return []
    return [Column("diverged", lambda row: f"{len(row.arm.diverged)}/{row.arm.runs}")]


def _companion(comparison: Comparison) -> list[Column[ArmRow]]:
    """Return a column for Dice on the metric's split, or for mIoU if the metric is Dice; none if no arm has it."""
    metric = comparison.criteria.metric
    split = metric.class_split if metric.shift is None else metric.split
    dice = Metric(split, "dice")
    shown = Metric(split, "miou") if metric == dice else dice
    if not any(str(shown) in arm.secondary for arm in comparison.arms):
        return []
    return [Column(shown.heading, lambda row: _spread(row.arm, shown))]


def _spread(arm: ArmSummary, metric: Metric) -> str:
    spread = arm.secondary.get(str(metric))
    return UNDEFINED if spread is None else metric.unit.mean_and_sd(spread.mean, spread.sd)


def _mean(metric: str, shown: Callable[[float], str]) -> Callable[[ArmRow], str]:
    """Return a function that prints the mean of a secondary metric of an arm; a dash if the arm has none."""
    return lambda row: shown(row.arm.secondary[metric].mean) if metric in row.arm.secondary else UNDEFINED


def _legend(comparison: Comparison) -> str:
    criteria = comparison.criteria
    unit = f" in {criteria.metric.unit.step}" if criteria.metric.unit.step else ""
    corrected = criteria.splits is not None
    tests = "e-process" if criteria.always_valid else "corrected t test (Nadeau & Bengio 2003)" if corrected else "sign flips"
    same = "" if criteria.always_valid else f"; of an equivalent arm, two one-sided {'corrected ' * corrected}t tests"
    seeds, test = ("seeds and data splits", "corrected t") if corrected else ("seeds", "sign-flip")
    pair = "tuning" if criteria.tunings > 1 else "seed"
    return (
        f"Mean ± standard deviation over n {seeds}. Difference: arm minus baseline{unit}, by {pair}, [{criteria.level} interval of the {test} test, "
        f"for this arm alone]. p: {tests}, adjusted over {_contrasts(comparison.tests)} (Holm){same}. "
        f"{wording.equivalence(criteria)} All of this holds {wording.scope(criteria)}."
    )


def _contrasts(tests: int) -> str:
    return "the one contrast" if tests == 1 else f"all {tests} contrasts"


def _remarks(comparison: Comparison) -> list[str]:
    """Return lines that say why there is no verdict and which data were left out."""
    reasons = dict.fromkeys(contrast.reason for contrast in comparison.contrasts if contrast.reason and contrast.verdict == "no verdict")
    doubts = [
        f"{contrast.arm}: inconclusive: {contrast.reason}"
        for contrast in comparison.contrasts
        if contrast.reason and contrast.verdict == "inconclusive"
    ]
    seen = [
        f"{contrast.arm}: {text[0].lower()}{text[1:]}"
        for contrast in comparison.contrasts
        if (text := wording.sensitivity(contrast, comparison))
    ]
    return [*(f"no verdict: {reason}" for reason in reasons), *doubts, *seen, *comparison.notes]
