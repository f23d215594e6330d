"""Quantities of the weights of each stage."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seglab.compare.findings import Findings
from seglab.compare.logs.curves import Curves
from seglab.compare.logs.weights import QUANTITIES, StageCurves, stage_curves_of
from seglab.compare.plots.curves import band
from seglab.compare.plots.picture import Picture
from seglab.compare.plots.style import INK, MUTED, axes_in, canvas, depth, line_of, short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_weights(curves: StageCurves) -> "Figure":
    """Draw a row for each quantity and a column for each stage.

    Each panel has its own scale, because stages differ far more than arms.
    """
    stages = sorted({stage for columns in curves.values() for stage in columns}, key=depth)
    arms = list(dict.fromkeys(arm for columns in curves.values() for by_arm in columns.values() for arm in by_arm))
    figure = canvas(width=0.8 + 1.3 * len(stages), height=0.8 + 1.3 * len(curves))
    grid = figure.subplots(len(curves), len(stages), sharex=True, squeeze=False)
    for row, (quantity, columns) in zip(grid, curves.items(), strict=True):
        for ax, stage in zip(row, stages, strict=True):
            plot_stage(columns.get(stage, {}), arms, ax)
        row[0].set_ylabel(QUANTITIES[quantity], fontsize=8)
    for ax, stage in zip(grid[0], stages, strict=True):
        ax.set_title(stage, fontsize=9, color=INK)
    for ax in grid[-1]:
        ax.set_xlabel("step", fontsize=8)
    handles = dict(pair[::-1] for ax in grid.flat for pair in zip(*ax.get_legend_handles_labels(), strict=True))
    figure.legend(
        [handles[arm] for arm in arms],
        list(map(short_name, arms)),
        frameon=False,
        labelcolor=INK,
        loc="outside lower center",
        ncols=min(6, len(arms)),
    )
    return figure


def plot_stage(curves: Curves, arms: Sequence[str], ax: "Axes | None" = None) -> "Axes":
    """Draw the mean curve of each arm over its seeds by optimizer step. `arms` lists all arms of the figure, which
    gives their colours.
    """
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    ax = axes_in(ax, width=3.0, height=2.4)
    ax.grid(color=MUTED, alpha=0.25, linewidth=0.6)
    ax.tick_params(labelsize=5.5, pad=1)
    for arm, seeds in curves.items():
        steps, _, mean, _ = band(list(seeds.values()), 1.0)
        colour, dashes = line_of(arms.index(arm))
        ax.plot(steps, mean, color=colour, linestyle=dashes, linewidth=1.4, label=arm)
    ax.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    ax.set_visible(bool(curves))
    return ax


def picture(found: Findings) -> Picture | None:
    """Return the picture for the report; None if no run logged its weights."""
    curves = stage_curves_of(found.logs)
    if not curves:
        return None
    caption = "Mean over the seeds, by optimizer step. Where a norm layer takes the scale out, ‖w‖ sets the effective learning rate η/‖w‖²."
    return Picture("What happened to the weights", caption, plot_weights(curves))
