"""The difference of each arm from the baseline in each class."""

from typing import TYPE_CHECKING

import numpy as np

from seglab.compare.findings import Findings
from seglab.compare.numbers.classes import ClassContrast, PerClass
from seglab.compare.plots.picture import Picture
from seglab.compare.plots.style import INK, MUTED, axes_in, axis_label, figure_of, panel_of, short_name
from seglab.compare.unit import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_classes(classes: PerClass, ax: "Axes | None" = None) -> "Axes":
    """Draw the difference in points of each arm (row) in each class (column).

    Bold numbers have an adjusted p of at most 0.05.
    """
    arms, names = classes.arms, classes.class_names
    cells = np.array([100 * cell.difference for cell in classes.cells]).reshape(len(arms), len(names))
    ax = axes_in(ax, width=max(7.0, 1.6 + 0.62 * len(names)), height=1.7 + 0.42 * len(arms))
    reach = max(1.0, float(np.nanmax(np.abs(cells)))) if np.isfinite(cells).any() else 1.0
    mesh = ax.pcolormesh(cells, cmap="RdBu", vmin=-reach, vmax=reach, edgecolors=MUTED, linewidth=0.3)
    for place, cell in enumerate(classes.cells):
        _write_cell(ax, cell, divmod(place, len(names)), reach)
    ax.set_xticks(np.arange(len(names)) + 0.5, list(map(short_name, names)), rotation=35, ha="right", parse_math=False)
    ax.set_yticks(np.arange(len(arms)) + 0.5, list(map(short_name, arms)))
    ax.invert_yaxis()
    bar = panel_of(ax).colorbar(mesh, ax=ax, pad=0.015, aspect=12)
    bar.set_label(axis_label(classes.metric.title, "points"), color=INK)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.outline.set_visible(False)
    return ax


def picture(found: Findings) -> Picture | None:
    """Return the picture for the report; None if the classes are unknown."""
    if found.classes is None or not found.classes.class_names:
        return None
    caption = (
        "Frequent classes left, rare ones right. Blue: the arm is better in this class; red: worse. "
        "Bold: adjusted p at most 0.05. Not declared beforehand."
    )
    return Picture("Class by class (exploratory)", caption, figure_of(plot_classes(found.classes)))


def _write_cell(ax: "Axes", cell: ClassContrast, place: tuple[int, int], reach: float) -> None:
    """Write the difference of a cell at (row, column); `reach` is the largest difference of all cells."""
    value = 100 * cell.difference
    dark = abs(value) > 0.6 * reach
    colour = MUTED if cell.n == 0 else "#ffffff" if dark else "#101418"
    weight = "bold" if cell.p_bh <= 0.05 else "normal"
    row, column = place
    ax.text(column + 0.5, row + 0.5, signed(value, 1), ha="center", va="center", fontsize=8, color=colour, weight=weight)
