"""The picture of two crossed factors."""

import math
from typing import TYPE_CHECKING

from seglab.compare import words
from seglab.compare.numbers.factorial import Factorial
from seglab.compare.plots.ink import INK, MUTED, axis_label, figure_with_axes, line_of
from seglab.records import CROSSING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_interaction(factors: Factorial) -> "Figure":
    """The second factor's levels from left to right, a line through the means of each level of the first, every run a small dot."""
    how, (first, second) = words.unit(factors.metric), factors.levels
    figure, axes = figure_with_axes(width=max(6.0, 2.2 + 1.3 * len(second)), height=4.2)
    step = min(0.08, 0.6 / len(first))
    for place, level in enumerate(first):
        colour, dashes = line_of(place)
        cells = {column: factors.scores.get(CROSSING.join((level, other)), {}) for column, other in enumerate(second)}
        shift = step * (place - (len(first) - 1) / 2)  # so that dots of two lines stay apart
        for column, cell in cells.items():
            axes.scatter(
                [column + shift] * len(cell), [score * how.factor for score in cell.values()], s=13, color=colour, alpha=0.5, linewidths=0
            )
        means = [how.factor * sum(cell.values()) / len(cell) if cell else math.nan for cell in cells.values()]
        columns = [column + shift for column in cells]
        axes.plot(columns, means, color=colour, linestyle=dashes, linewidth=2, marker="o", markersize=7, label=level)
    axes.set_xticks(range(len(second)), second, rotation=30 if len(second) > 6 else 0, ha="right" if len(second) > 6 else "center")
    axes.set_xlim(-0.5, len(second) - 0.5)
    axes.set_xlabel(factors.factors[1], parse_math=False)
    axes.set_ylabel(axis_label(factors.metric, how.level), parse_math=False)
    axes.grid(axis="y", color=MUTED, alpha=0.25, linewidth=0.6)
    legend = axes.legend(title=factors.factors[0], frameon=False, labelcolor=INK, loc="center left", bbox_to_anchor=(1.01, 0.5))
    legend.get_title().set(color=INK, parse_math=False)
    return figure
