"""The difference of each arm from the baseline."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seglab.compare.findings import Findings
from seglab.compare.numbers.answer import Comparison
from seglab.compare.numbers.contrasts import Contrast
from seglab.compare.numbers.pairing import tuning_means
from seglab.compare.plots.picture import Picture
from seglab.compare.plots.style import INK, MUTED, axes_in, axis_label, figure_of, short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERDICT_COLOURS = {
    "better": "#1a9850",
    "worse": "#d73027",
    "different": "#7a3ea8",
    "equivalent": "#3288bd",
    "inconclusive": "#b8860b",
    "no verdict": MUTED,
}


LONGEST_NAME = 16
"""Largest number of letters of an arm whose name stands beside its row. If one is longer, all names stand above their
rows.
"""


def plot_differences(comparison: Comparison, ax: "Axes | None" = None) -> "Axes":
    """Draw the mean paired difference and the interval of each arm, and its pairs as small dots.

    A band around zero is the margin.

    An unbounded interval has no bar. Long names stand above their rows, as they would leave no width for the
    differences.
    """
    criteria, contrasts = comparison.criteria, comparison.contrasts
    unit = criteria.metric.unit
    ax = axes_in(ax, width=7.0, height=1.3 + 0.5 * max(1, len(contrasts)))
    if criteria.margin is not None:
        ax.axvspan(-criteria.margin * unit.factor, criteria.margin * unit.factor, color=MUTED, alpha=0.18, linewidth=0)
    ax.axvline(0, color=INK, linewidth=0.9)
    scores = {arm.arm: arm.scores for arm in comparison.arms}
    for place, contrast in enumerate(contrasts):
        colour = VERDICT_COLOURS[contrast.verdict]
        differences = [scores[contrast.arm][seed] - scores[criteria.baseline][seed] for seed in contrast.seeds]
        pairs = unit.factor * tuning_means(np.array(differences), contrast.seeds, contrast.tunings)
        ax.scatter(pairs, [place + 0.24] * len(pairs), s=13, color=MUTED, alpha=0.7, linewidths=0)
        low, middle, high = np.array([contrast.low, contrast.difference, contrast.high]) * unit.factor
        if not np.isfinite(low):
            low = high = middle
        ax.errorbar(middle, place, xerr=[[middle - low], [high - middle]], fmt="o", color=colour, capsize=4, linewidth=2, markersize=7)
        ax.annotate(contrast.verdict, (1.02, place), xycoords=("axes fraction", "data"), color=colour, va="center", fontsize=9.5)
    if _has_long_names(contrasts):
        ax.set_yticks(range(len(contrasts)), [""] * len(contrasts))
        for place, contrast in enumerate(contrasts):
            at = (0.01, place - 0.2)
            ax.annotate(
                short_name(contrast.arm), at, xycoords=("axes fraction", "data"), color=INK, va="bottom", fontsize=8, parse_math=False
            )
    else:
        ax.set_yticks(range(len(contrasts)), [contrast.arm for contrast in contrasts])
    ax.set_ylim(len(contrasts) - 0.5, -0.5 - 0.2 * _has_long_names(contrasts))
    label = axis_label(f"difference from {criteria.baseline}", unit.step)
    left, right = ("better", "worse") if criteria.metric.smaller_is_better else ("worse", "better")
    ax.set_xlabel(f"← {left}  |  {label}  |  {right} →" if criteria.metric.has_direction else label)
    ax.grid(axis="x", color=MUTED, alpha=0.25, linewidth=0.6)
    return ax


def _has_long_names(contrasts: Sequence[Contrast]) -> bool:
    return any(len(contrast.arm) > LONGEST_NAME for contrast in contrasts)


def picture(found: Findings) -> Picture | None:
    """Return the picture for the report; None if there is nothing to compare with the baseline."""
    if not found.comparison.contrasts:
        return None
    criteria = found.criteria
    band = f"Band: the margin, {criteria.within}." if criteria.within else f"No band: {criteria.metric.title} has no margin."
    caption = f"Large dot and bar: mean difference and {criteria.level} interval. Small dots: pairs. {band}"
    rows = len(found.comparison.contrasts)
    height = 0.42 if rows <= 8 or _has_long_names(found.comparison.contrasts) else 0.26
    ax = axes_in(None, width=4.6, height=1.1 + rows * height)  # small enough for a phone
    plot_differences(found.comparison, ax)
    ax.locator_params(axis="x", nbins=5)  # labels such as −0.0125 would meet
    return Picture("Differences from the baseline", caption, figure_of(ax))
