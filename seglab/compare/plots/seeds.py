"""Every run as a dot."""

from typing import TYPE_CHECKING

import numpy as np

from seglab.compare.findings import Findings
from seglab.compare.numbers.answer import Comparison
from seglab.compare.plots.picture import Picture
from seglab.compare.plots.style import ACCENT, INK, MUTED, axes_in, axis_label, figure_of, name_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_seeds(comparison: Comparison, ax: "Axes | None" = None) -> "Axes":
    """Draw one column for each arm, a dot for each run and a line for each seed.

    Lines are parallel if seeds act alike on all arms.
    """
    metric, arms = comparison.criteria.metric, comparison.arms
    factor, columns = metric.unit.factor, range(len(arms))
    ax = axes_in(ax, width=max(7.0, 1.0 + 0.85 * len(arms)), height=4.2)
    for seed in sorted({seed for arm in arms for seed in arm.scores}):
        scores = [arm.scores.get(seed, np.nan) * factor for arm in arms]
        ax.plot(columns, scores, color=MUTED, linewidth=0.8, alpha=0.55, marker="o", markersize=4.5, markeredgewidth=0)
    means = [arm.score.mean * factor for arm in arms]
    ax.scatter(columns, means, marker="_", s=900, linewidths=2.5, color=ACCENT, zorder=3, label="mean")
    name_columns(ax, [arm.arm for arm in arms])
    ax.set_xlim(-0.5, len(arms) - 0.5)
    ax.set_ylabel(axis_label(metric.title, metric.unit.level), parse_math=False)
    ax.grid(axis="y", color=MUTED, alpha=0.25, linewidth=0.6)
    ax.legend(frameon=False, labelcolor=INK, loc="center left", bbox_to_anchor=(1.01, 0.5), markerscale=0.5)
    return ax


def picture(found: Findings) -> Picture:
    """Return the picture for the report."""
    caption = "Each dot is one run, each line one seed across the arms, each bar a mean. Parallel lines: the seed acts alike on all arms."
    return Picture("Every run", caption, figure_of(plot_seeds(found.comparison)))
