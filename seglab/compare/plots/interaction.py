"""Scores of two crossed factors."""

import math
from typing import TYPE_CHECKING

from seglab.compare.numbers.factorial import Factorial
from seglab.compare.plots.picture import Picture
from seglab.compare.plots.style import INK, MUTED, axes_in, axis_label, figure_of, line_of, name_columns, short_name
from seglab.records import CROSSING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_interaction(factors: Factorial, ax: "Axes | None" = None) -> "Axes":
    """Draw a line through the means of each level of the first factor, and a dot for each run.

    The levels of the second factor stand from left to right.
    """
    metric, (first, second) = factors.criteria.metric, factors.levels
    factor = metric.unit.factor
    ax = axes_in(ax, width=max(6.0, 2.2 + 1.3 * len(second)), height=4.2)
    step = min(0.08, 0.6 / len(first))
    for place, level in enumerate(first):
        colour, dashes = line_of(place)
        cells = {column: factors.scores.get(CROSSING.join((level, other)), {}) for column, other in enumerate(second)}
        shift = step * (place - (len(first) - 1) / 2)  # so that dots of two lines stay apart
        for column, cell in cells.items():
            scores = [score * factor for score in cell.values()]
            ax.scatter([column + shift] * len(cell), scores, s=13, color=colour, alpha=0.5, linewidths=0)
        means = [factor * sum(cell.values()) / len(cell) if cell else math.nan for cell in cells.values()]
        columns = [column + shift for column in cells]
        ax.plot(columns, means, color=colour, linestyle=dashes, linewidth=2, marker="o", markersize=7, label=short_name(level))
    name_columns(ax, second)
    ax.set_xlim(-0.5, len(second) - 0.5)
    ax.set_xlabel(factors.factors[1], parse_math=False)
    ax.set_ylabel(axis_label(metric.title, metric.unit.level), parse_math=False)
    ax.grid(axis="y", color=MUTED, alpha=0.25, linewidth=0.6)
    legend = ax.legend(title=factors.factors[0], frameon=False, labelcolor=INK, loc="center left", bbox_to_anchor=(1.01, 0.5))
    legend.get_title().set(color=INK, parse_math=False)
    return ax


def picture(factors: Factorial) -> Picture:
    """Return the picture for the report's section on the factors."""
    first, second = factors.factors
    caption = (
        f"Line: the means of one level of {first} over the levels of {second}; small dots: the runs. "
        "Parallel lines: the effect of one does not depend on the other."
    )
    return Picture(f"{first} × {second}", caption, figure_of(plot_interaction(factors)))
