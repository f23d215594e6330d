"""Plot the learning rate of each stage at each step, which shows when a stage trained."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from seglab.compare.findings import Findings
from seglab.compare.logs.rates import Rates, StageRates, rates_of
from seglab.compare.numbers.statistics import Floats
from seglab.compare.plots.picture import Picture
from seglab.compare.plots.style import INK, MUTED, axes_in, canvas, depth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

COLUMNS = 480
"""Width of the image of a panel in pixels: finer than a screen shows, whatever the number of logged steps."""
DECADES = 2, 3
"""Minimum and maximum number of decades that the colours cover below the largest rate. The minimum keeps the smaller of
two similar rates visible; rates below the maximum have the lowest colour.
"""
_HATCH = "/////"


@dataclass(frozen=True)
class Scale:
    """Colours of learning rates, by their logarithms."""

    colours: "Colormap"
    norm: "Normalize"
    clipped: bool
    """True if some rates are below the lowest colour."""


def plot_schedules(rates: StageRates) -> "Figure":
    """Draw a panel for each arm, with one colour scale for all."""
    stages = sorted({stage for of_arm in rates.values() for stage in of_arm}, key=depth)
    across = {1: 1, 2: 2, 4: 2}.get(len(rates), 3)
    down = -(-len(rates) // across)
    figure = canvas(width=8.4, height=0.9 + down * (0.45 + 0.17 * len(stages)))
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    scale = scale_of(rates)
    for ax, (arm, of_arm) in zip(grid.flat, rates.items(), strict=False):
        plot_schedule(of_arm, stages, scale, ax)
        ax.set_title(textwrap.fill(arm, 36), fontsize=8, color=INK)
    for place in range(len(rates), down * across):
        grid.flat[place].set_visible(False)
    for place in range(max(0, len(rates) - across), len(rates)):  # the lowest panel of each column
        grid.flat[place].set_xlabel("optimizer step", fontsize=8)
        grid.flat[place].tick_params(labelbottom=True)
    _explain(figure, grid.ravel()[: len(rates)].tolist(), scale)
    return figure


def scale_of(rates: StageRates) -> Scale:
    """Return one scale for the rates of all arms.

    It omits the ends of the colour map, which vanish on dark and light backgrounds.
    """
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap, LogNorm

    positive = [rate for of_arm in rates.values() for curve in of_arm.values() for rate in curve.values() if rate > 0]
    top, smallest = max(positive, default=1.0), min(positive, default=1.0)
    bottom = min(max(smallest, top / 10 ** DECADES[1]), top / 10 ** DECADES[0])
    return Scale(ListedColormap(mpl.colormaps["viridis"](np.linspace(0.1, 0.95, 256))), LogNorm(bottom, top), smallest < bottom)


def plot_schedule(rates: Rates, stages: Sequence[str], scale: Scale | None = None, ax: "Axes | None" = None) -> "Axes":
    """Draw a row for each stage, the last on top: learning rate by optimizer step as a colour, hatched where frozen.

    Args:
        rates: learning rates of one arm, with at least one step.
        stages: stages of the rows, from the bottom up. A stage without rates stays blank.
        scale: colours; None is `scale_of` these rates. Panels that are compared share one scale.
        ax: None makes a figure.
    """
    from matplotlib.ticker import MaxNLocator

    ax, scale = axes_in(ax, width=5.0, height=1.3 + 0.17 * len(stages)), scale_of({"": rates}) if scale is None else scale
    steps = sorted({step for curve in rates.values() for step in curve})
    end = steps[-1] + (steps[-1] - steps[-2] if len(steps) > 1 else 1)  # a rate is assumed to last until the next logged rate
    places = np.linspace(steps[0], end, COLUMNS, endpoint=False)
    image = np.stack([_held(rates.get(stage, {}), places) for stage in stages])
    ax.imshow(
        np.ma.masked_where(~(image > 0), image),
        extent=(steps[0], end, -0.5, len(stages) - 0.5),
        origin="lower",
        aspect="auto",
        interpolation="none",  # embeds the small image itself in the page, with sharp edges
        cmap=scale.colours,
        norm=scale.norm,
    )
    for row, stage in enumerate(stages):
        spans = [(start, stop - start) for start, stop in _frozen(rates.get(stage, {}), end)]
        ax.broken_barh(spans, (row - 0.5, 1.0), facecolor="none", edgecolor=MUTED, hatch=_HATCH, linewidth=0)
        ax.axhline(row + 0.5, color=MUTED, linewidth=0.5)
    for spine in ax.spines.values():
        spine.set_visible(True)
    ax.set_yticks(range(len(stages)), stages)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.tick_params(labelsize=7)
    ax.tick_params(axis="y", length=0)
    return ax


def picture(found: Findings) -> Picture | None:
    """Return the picture for the report; None if in every arm all stages had the same learning rates."""
    rates = rates_of(found.logs)
    if not rates:
        return None
    caption = (
        "The learning rate that was applied to each stage, by optimizer step as logged, in one run of each arm (the lowest seed). "
        "Top: the head; bottom: the stage at the input. Hatched: frozen."
    )
    return Picture("When which stage trained", caption, plot_schedules(rates))


def _held(curve: Mapping[int, float], places: Floats) -> Floats:
    """Return the last logged rate at each of the steps `places`; NaN before the first."""
    if not curve:
        return np.full(len(places), np.nan)
    steps = sorted(curve)
    before = np.searchsorted(np.array(steps), places, side="right") - 1
    return np.where(before < 0, np.nan, np.array([curve[step] for step in steps])[before])


def _frozen(curve: Mapping[int, float], end: int) -> list[tuple[int, int]]:
    """Return the spans (first step, next trained step) in which the rate is 0."""
    spans: list[tuple[int, int]] = []
    for step, following in pairwise([*sorted(curve), end]):
        if curve[step] == 0:
            start = spans.pop()[0] if spans and spans[-1][1] == step else step
            spans.append((start, following))
    return spans


def _explain(figure: "Figure", panels: Sequence["Axes"], scale: Scale) -> None:
    """Add the colour bar, and a legend for the hatching."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.patches import Patch

    mappable, ends = ScalarMappable(scale.norm, scale.colours), "min" if scale.clipped else "neither"
    bar = figure.colorbar(mappable, ax=panels, pad=0.015, aspect=14 * len(figure.axes) ** 0.5, extend=ends)
    bar.set_label("learning rate", color=INK, fontsize=8)
    bar.ax.tick_params(which="both", colors=INK, labelsize=7)
    bar.outline.set_visible(False)
    frozen = Patch(facecolor="none", edgecolor=MUTED, hatch=_HATCH, linewidth=0.5, label="frozen (rate 0)")
    figure.legend(handles=[frozen], frameon=False, labelcolor=INK, fontsize=8, loc="outside lower center")
