"""The pictures of a comparison, as matplotlib figures."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from seglab.compare import words
from seglab.compare.logs.curves import Curves
from seglab.compare.logs.weights import QUANTITIES, StageCurves
from seglab.compare.numbers.classes import ClassContrast, PerClass
from seglab.compare.numbers.comparison import Comparison, smaller_is_better
from seglab.compare.plots.ink import ACCENT, INK, MUTED, axis_label, canvas, depth, dress, figure_with_axes, line_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VERDICT_COLOURS = {"better": "#1a9850", "worse": "#d73027", "equivalent": "#3288bd", "inconclusive": "#b8860b", "no verdict": MUTED}


def plot_seeds(comparison: Comparison) -> "Figure":
    """Every run as a dot, one column per arm, a line for each seed: parallel lines say that seeds act alike on all arms."""
    how, arms = words.unit(comparison.metric), comparison.arms
    figure, axes = figure_with_axes(width=max(7.0, 1.0 + 0.85 * len(arms)), height=4.2)
    for seed in sorted({seed for arm in arms for seed in arm.scores}):
        scores = [arm.scores.get(seed, np.nan) * how.factor for arm in arms]
        axes.plot(range(len(arms)), scores, color=MUTED, linewidth=0.8, alpha=0.55, marker="o", markersize=4.5, markeredgewidth=0)
    axes.scatter(
        range(len(arms)),
        [arm.score.mean * how.factor for arm in arms],
        marker="_",
        s=900,
        linewidths=2.5,
        color=ACCENT,
        zorder=3,
        label="mean",
    )
    axes.set_xticks(
        range(len(arms)), [arm.arm for arm in arms], rotation=30 if len(arms) > 6 else 0, ha="right" if len(arms) > 6 else "center"
    )
    axes.set_xlim(-0.5, len(arms) - 0.5)
    axes.set_ylabel(axis_label(comparison.metric, how.level), parse_math=False)
    axes.grid(axis="y", color=MUTED, alpha=0.25, linewidth=0.6)
    axes.legend(frameon=False, labelcolor=INK, loc="center left", bbox_to_anchor=(1.01, 0.5), markerscale=0.5)
    return figure


def plot_differences(comparison: Comparison) -> "Figure":
    """Mean paired difference and interval of each arm, the margin as a band around zero, the pairs as small dots below."""
    how, contrasts = words.unit(comparison.metric), comparison.contrasts
    figure, axes = figure_with_axes(width=7.0, height=1.3 + 0.5 * max(1, len(contrasts)))
    axes.axvspan(-comparison.margin * how.factor, comparison.margin * how.factor, color=MUTED, alpha=0.18, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.9)
    scores = {arm.arm: arm.scores for arm in comparison.arms}
    for place, contrast in enumerate(contrasts):
        colour = VERDICT_COLOURS[contrast.verdict]
        pairs = [(scores[contrast.arm][seed] - scores[comparison.baseline][seed]) * how.factor for seed in contrast.seeds]
        axes.scatter(pairs, [place + 0.24] * len(pairs), s=13, color=MUTED, alpha=0.7, linewidths=0)
        ends = np.array([contrast.low, contrast.difference, contrast.high]) * how.factor
        axes.errorbar(
            ends[1], place, xerr=[[ends[1] - ends[0]], [ends[2] - ends[1]]], fmt="o", color=colour, capsize=4, linewidth=2, markersize=7
        )
        axes.annotate(contrast.verdict, (1.02, place), xycoords=("axes fraction", "data"), color=colour, va="center", fontsize=9.5)
    axes.set_yticks(range(len(contrasts)), [contrast.arm for contrast in contrasts])
    axes.set_ylim(len(contrasts) - 0.5, -0.5)
    sides = ("better", "worse") if smaller_is_better(comparison.metric) else ("worse", "better")
    step = f", {how.step}" if how.step else ""
    axes.set_xlabel(f"← {sides[0]}  |  difference from {comparison.baseline}{step}  |  {sides[1]} →")
    axes.grid(axis="x", color=MUTED, alpha=0.25, linewidth=0.6)
    return figure


def plot_classes(classes: PerClass) -> "Figure":
    """Per-class differences in points, arms by classes; a cell whose adjusted p is at most 0.05 is printed bold."""
    arms = list(dict.fromkeys(cell.arm for cell in classes.cells))
    cells = np.array([100 * cell.difference for cell in classes.cells]).reshape(len(arms), len(classes.class_names))
    figure, axes = figure_with_axes(width=max(7.0, 1.6 + 0.62 * len(classes.class_names)), height=1.7 + 0.42 * len(arms))
    reach = max(1.0, float(np.nanmax(np.abs(cells)))) if np.isfinite(cells).any() else 1.0
    mesh = axes.pcolormesh(cells, cmap="RdBu", vmin=-reach, vmax=reach, edgecolors=MUTED, linewidth=0.3)
    for index, cell in enumerate(classes.cells):
        _write_cell(axes, cell, *divmod(index, len(classes.class_names)), reach)
    axes.set_xticks(np.arange(len(classes.class_names)) + 0.5, classes.class_names, rotation=35, ha="right", parse_math=False)
    axes.set_yticks(np.arange(len(arms)) + 0.5, arms)
    axes.invert_yaxis()
    bar = figure.colorbar(mesh, ax=axes, pad=0.015, aspect=12)
    bar.set_label(f"{words.metric_name(f'{classes.split}/{classes.score}')}, points", color=INK)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.outline.set_visible(False)
    return figure


def plot_curves(curves: Curves, metric: str = "val/miou") -> "Figure":
    """The mean of each arm's curve by epoch, and the range over its seeds as a shade."""
    from matplotlib.ticker import MaxNLocator

    how = words.unit(metric)
    figure, axes = figure_with_axes(width=7.5, height=4.0)
    for place, (arm, seeds) in enumerate(curves.items()):
        epochs, low, mean, high = _band(list(seeds.values()), how.factor)
        colour, dashes = line_of(place)
        axes.fill_between(epochs, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(epochs, mean, color=colour, linewidth=1.8, linestyle=dashes, label=arm, marker="o" if len(epochs) == 1 else "")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(axis_label(metric, how.level), parse_math=False)
    axes.grid(color=MUTED, alpha=0.25, linewidth=0.6)
    axes.legend(frameon=False, labelcolor=INK, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def plot_stages(curves: StageCurves) -> "Figure":
    """Small multiples: a row for each quantity, a column for each stage, a line for the mean of each arm over its seeds, by step."""
    stages = sorted({stage for columns in curves.values() for stage in columns}, key=depth)
    arms = list(dict.fromkeys(arm for columns in curves.values() for by_arm in columns.values() for arm in by_arm))
    figure = canvas(width=0.8 + 1.3 * len(stages), height=0.8 + 1.3 * len(curves))
    grid = figure.subplots(len(curves), len(stages), sharex=True, squeeze=False)  # stages differ by far more than arms do
    for row, (quantity, columns) in zip(grid, curves.items(), strict=True):
        for axes, stage in zip(row, stages, strict=True):
            _plot_stage(axes, columns.get(stage, {}), arms)
        row[0].set_ylabel(QUANTITIES[quantity], fontsize=8)
    for axes, stage in zip(grid[0], stages, strict=True):
        axes.set_title(stage, fontsize=9, color=INK)
    for axes in grid[-1]:
        axes.set_xlabel("step", fontsize=8)
    handles = dict(pair[::-1] for axes in grid.flat for pair in zip(*axes.get_legend_handles_labels(), strict=True))
    figure.legend([handles[arm] for arm in arms], arms, frameon=False, labelcolor=INK, loc="outside lower center", ncols=min(6, len(arms)))
    return figure


def _plot_stage(axes: "Axes", of_arms: Curves, arms: Sequence[str]) -> None:
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    dress(axes)
    axes.grid(color=MUTED, alpha=0.25, linewidth=0.6)
    axes.tick_params(labelsize=5.5, pad=1)
    for arm, seeds in of_arms.items():
        steps, _, mean, _ = _band(list(seeds.values()), 1.0)
        colour, dashes = line_of(arms.index(arm))
        axes.plot(steps, mean, color=colour, linestyle=dashes, linewidth=1.4, label=arm)
    axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_visible(bool(of_arms))


def _write_cell(axes: "Axes", cell: ClassContrast, row: int, column: int, reach: float) -> None:
    value = 100 * cell.difference
    dark = abs(value) > 0.6 * reach
    colour = MUTED if cell.n == 0 else "#ffffff" if dark else "#101418"
    weight = "bold" if cell.p_bh <= 0.05 else "normal"
    axes.text(column + 0.5, row + 0.5, words.signed(value, 1), ha="center", va="center", fontsize=8, color=colour, weight=weight)


def _band(seeds: Sequence[Mapping[int, float]], factor: float) -> tuple[list[int], list[float], list[float], list[float]]:
    epochs = sorted({epoch for seed in seeds for epoch in seed})
    values = [[seed[epoch] * factor for seed in seeds if epoch in seed] for epoch in epochs]
    return epochs, [min(v) for v in values], [sum(v) / len(v) for v in values], [max(v) for v in values]
