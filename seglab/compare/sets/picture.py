"""Forest plot: the difference of each arm from the baseline on each data set, and over all of them."""

from typing import TYPE_CHECKING

import numpy as np

from seglab.compare.plots.differences import VERDICT_COLOURS
from seglab.compare.plots.picture import Picture
from seglab.compare.plots.style import INK, MUTED, axes_in, axis_label, figure_of, short_name
from seglab.compare.sets.answer import OverSets

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 120
"""Largest number of rows of the picture in a report."""


def plot_sets(found: OverSets, ax: "Axes | None" = None) -> "Axes":
    """Draw a row for each data set under each arm, with its study's interval, and a diamond for the mean over all.

    An unbounded interval has no bar. The band around zero is the margin, if all studies have the same.
    """
    criteria = found.criteria
    factor = criteria.metric.unit.factor
    labels: list[tuple[float, str]] = []
    ax = axes_in(ax, width=6.0, height=1.1 + 0.3 * sum(len(arm.sets) + 2 for arm in found.arms))
    if _one_margin(found) and criteria.margin is not None:
        ax.axvspan(-criteria.margin * factor, criteria.margin * factor, color=MUTED, alpha=0.18, linewidth=0)
    ax.axvline(0, color=INK, linewidth=0.9)
    place = 0.0
    for arm in found.arms:
        rows = [(own.name, own.contrast.difference, own.contrast.low, own.contrast.high, own.contrast.verdict, "o") for own in arm.sets]
        rows.append((f"{arm.arm}, mean", arm.mean.value, arm.mean.low, arm.mean.high, arm.verdict, "D"))
        for name, value, low, high, verdict, marker in rows:
            middle, left, right = np.array([value, *((low, high) if np.isfinite(low) else (value, value))]) * factor
            colour = INK if marker == "D" else VERDICT_COLOURS[verdict]
            ax.errorbar(middle, place, xerr=[[middle - left], [right - middle]], fmt=marker, color=colour, capsize=3, linewidth=1.6)
            ax.annotate(verdict, (1.02, place), xycoords=("axes fraction", "data"), color=VERDICT_COLOURS[verdict], va="center", fontsize=9)
            labels.append((place, name))
            place += 1
        place += 0.6
    ax.set_yticks([at for at, _ in labels], [short_name(name) for _, name in labels])
    ax.set_ylim(place - 0.8, -0.7)
    label = axis_label(f"difference from {criteria.baseline}", criteria.metric.unit.step)
    left_end, right_end = ("better", "worse") if criteria.metric.smaller_is_better else ("worse", "better")
    ax.set_xlabel(f"← {left_end}  |  {label}  |  {right_end} →" if criteria.metric.has_direction else label)
    ax.grid(axis="x", color=MUTED, alpha=0.25, linewidth=0.6)
    return ax


def picture(found: OverSets) -> Picture | None:
    """Return the picture for the report; None if there is nothing to compare, or more than can be read."""
    if not 0 < sum(len(arm.sets) + 1 for arm in found.arms) <= MOST_ROWS:
        return None
    band = f" Band: the margin, {found.criteria.within}." if _one_margin(found) and found.criteria.within else ""
    caption = (
        f"Dots and bars: mean difference on each data set and its {found.criteria.level} interval. Diamond and bar: mean over the data sets, and its "
        f"interval over the seeds on these data sets.{band}"
    )
    return Picture("Differences on each data set and over all", caption, figure_of(plot_sets(found)))


def _one_margin(found: OverSets) -> bool:
    """Return whether all studies have the same margin."""
    return len({each.comparison.criteria.margin for each in found.sets}) == 1
