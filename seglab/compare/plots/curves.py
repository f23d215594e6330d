"""Learning curves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from seglab.compare.findings import Findings
from seglab.compare.logs.curves import COLUMN, Curves
from seglab.compare.metric import Metric
from seglab.compare.plots.picture import Picture
from seglab.compare.plots.style import INK, MUTED, axes_in, axis_label, figure_of, line_of, short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_curves(curves: Curves, ax: "Axes | None" = None, metric: Metric | None = None) -> "Axes":
    """Draw the mean curve of each arm over its seeds by epoch, and a shade from the lowest to the highest seed.

    `metric` sets the label and the unit; None is `val/miou`.
    """
    from matplotlib.ticker import MaxNLocator

    metric = Metric.parse(COLUMN) if metric is None else metric
    ax = axes_in(ax, width=7.5, height=4.0)
    for place, (arm, seeds) in enumerate(curves.items()):
        epochs, low, mean, high = band(list(seeds.values()), metric.unit.factor)
        colour, dashes = line_of(place)
        ax.fill_between(epochs, low, high, color=colour, alpha=0.13, linewidth=0)
        ax.plot(epochs, mean, color=colour, linewidth=1.8, linestyle=dashes, label=short_name(arm), marker="o" if len(epochs) == 1 else "")
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_ylabel(axis_label(metric.title, metric.unit.level), parse_math=False)
    ax.grid(color=MUTED, alpha=0.25, linewidth=0.6)
    ax.legend(frameon=False, labelcolor=INK, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


def picture(found: Findings) -> Picture | None:
    """Return the picture for the report; None if no run has a learning curve."""
    curves, _ = found.curves
    if not curves:
        return None
    caption = "Line: mean over the seeds; shade: from the lowest to the highest seed. For looking, not for judging."
    return Picture("Learning curves", caption, figure_of(plot_curves(curves)))


def band(seeds: Sequence[Mapping[int, float]], factor: float) -> tuple[list[int], list[float], list[float], list[float]]:
    """Return all epochs (or steps), and the minimum, mean and maximum over the seeds at each, times `factor`."""
    epochs = sorted({epoch for seed in seeds for epoch in seed})
    values = [[seed[epoch] * factor for seed in seeds if epoch in seed] for epoch in epochs]
    return epochs, [min(v) for v in values], [sum(v) / len(v) for v in values], [max(v) for v in values]
