"""The picture of freezing schedules: when which stage trained, and how fast."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from seglab.compare.logs.rates import Rates, StageRates
from seglab.compare.numbers.statistics import Floats
from seglab.compare.plots.ink import INK, MUTED, canvas, depth, dress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

COLUMNS = 480
"""Of the image in a panel: finer than a screen shows, whatever the number of logged steps."""
DECADES = 2, 3
"""Of the colours, down from the largest rate, at least and at most: no rate looks like next to nothing because it is the smaller of two,
and what is below has the lowest colour."""
_HATCH = "/////"


@dataclass(frozen=True)
class _Scale:
    """From rates to colours, by their logarithms."""

    colours: "Colormap"
    norm: "Normalize"
    clipped: bool
    """Whether there are rates below the lowest colour."""


def plot_schedules(rates: StageRates) -> "Figure":
    """A panel for each arm, a row for each stage with the head on top, by optimizer step: the rate as a colour, frozen hatched."""
    stages = sorted({stage for of_arm in rates.values() for stage in of_arm}, key=depth)
    across = {1: 1, 2: 2, 4: 2}.get(len(rates), 3)
    down = -(-len(rates) // across)
    figure = canvas(width=8.4, height=0.9 + down * (0.45 + 0.17 * len(stages)))
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    scale = _scale(rates)
    for axes, (arm, of_arm) in zip(grid.flat, rates.items(), strict=False):
        _plot_arm(axes, of_arm, stages, scale)
        axes.set_title(textwrap.fill(arm, 36), fontsize=8, color=INK)
    for place in range(len(rates), down * across):
        grid.flat[place].set_visible(False)
    for place in range(max(0, len(rates) - across), len(rates)):  # the lowest of each column
        grid.flat[place].set_xlabel("optimizer step", fontsize=8)
        grid.flat[place].tick_params(labelbottom=True)
    _explain(figure, grid.ravel()[: len(rates)].tolist(), scale)
    return figure


def _scale(rates: StageRates) -> _Scale:
    """For all panels, and without the ends of the map that vanish on dark and on light ground."""
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap, LogNorm

    positive = [rate for of_arm in rates.values() for curve in of_arm.values() for rate in curve.values() if rate > 0]
    top, smallest = max(positive, default=1.0), min(positive, default=1.0)
    bottom = min(max(smallest, top / 10 ** DECADES[1]), top / 10 ** DECADES[0])
    return _Scale(ListedColormap(mpl.colormaps["viridis"](np.linspace(0.1, 0.95, 256))), LogNorm(bottom, top), smallest < bottom)


def _plot_arm(axes: "Axes", rates: Rates, stages: Sequence[str], scale: _Scale) -> None:
    from matplotlib.ticker import MaxNLocator

    dress(axes)
    steps = sorted({step for curve in rates.values() for step in curve})
    end = steps[-1] + (steps[-1] - steps[-2] if len(steps) > 1 else 1)  # a rate is taken to last until the next that was logged
    places = np.linspace(steps[0], end, COLUMNS, endpoint=False)
    image = np.stack([_held(rates.get(stage, {}), places) for stage in stages])
    axes.imshow(
        np.ma.masked_where(~(image > 0), image),
        extent=(steps[0], end, -0.5, len(stages) - 0.5),
        origin="lower",
        aspect="auto",
        interpolation="none",  # so it stays as small in the page as it is, with sharp edges
        cmap=scale.colours,
        norm=scale.norm,
    )
    for row, stage in enumerate(stages):
        spans = [(start, stop - start) for start, stop in _frozen(rates.get(stage, {}), end)]
        axes.broken_barh(spans, (row - 0.5, 1.0), facecolor="none", edgecolor=MUTED, hatch=_HATCH, linewidth=0)
        axes.axhline(row + 0.5, color=MUTED, linewidth=0.5)
    for spine in axes.spines.values():
        spine.set_visible(True)
    axes.set_yticks(range(len(stages)), stages)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.tick_params(labelsize=7)
    axes.tick_params(axis="y", length=0)


def _held(curve: Mapping[int, float], places: Floats) -> Floats:
    """The rate that was logged last at each of `places`; NaN before the first."""
    if not curve:
        return np.full(len(places), np.nan)
    steps = sorted(curve)
    before = np.searchsorted(np.array(steps), places, side="right") - 1
    return np.where(before < 0, np.nan, np.array([curve[step] for step in steps])[before])


def _frozen(curve: Mapping[int, float], end: int) -> list[tuple[int, int]]:
    """From where to where the rate is 0: steps that follow each other in the log as one span."""
    spans: list[tuple[int, int]] = []
    for step, following in pairwise([*sorted(curve), end]):
        if curve[step] == 0:
            start = spans.pop()[0] if spans and spans[-1][1] == step else step
            spans.append((start, following))
    return spans


def _explain(figure: "Figure", panels: Sequence["Axes"], scale: _Scale) -> None:
    """The colour bar, and what the hatching means."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.patches import Patch

    mappable, ends = ScalarMappable(scale.norm, scale.colours), "min" if scale.clipped else "neither"
    bar = figure.colorbar(mappable, ax=panels, pad=0.015, aspect=14 * len(figure.axes) ** 0.5, extend=ends)
    bar.set_label("learning rate", color=INK, fontsize=8)
    bar.ax.tick_params(which="both", colors=INK, labelsize=7)
    bar.outline.set_visible(False)
    frozen = Patch(facecolor="none", edgecolor=MUTED, hatch=_HATCH, linewidth=0.5, label="frozen (rate 0)")
    figure.legend(handles=[frozen], frameon=False, labelcolor=INK, fontsize=8, loc="outside lower center")
