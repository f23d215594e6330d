"""Plot the gain of a tuning budget: the expected score of the best of k settings."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from seglab.compare.findings import Findings
from seglab.compare.metric import Metric
from seglab.compare.numbers.tuning import Choice
from seglab.compare.plots.picture import Picture
from seglab.compare.plots.style import INK, MUTED, axes_in, axis_label, figure_of, line_of, short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_tuning(choices: Sequence[Choice], metric: Metric, ax: "Axes | None" = None) -> "Axes":
    """Draw each arm's expected validation score of the best of k of its settings, drawn at random (Dodge et al. 2019).

    A curve begins where no draw can consist of settings that have diverged.
    """
    return _drawn({choice.arm: choice.expected_best for choice in choices}, metric, ax)


def _drawn(curves: Mapping[str, Sequence[float]], metric: Metric, ax: "Axes | None" = None) -> "Axes":
    from matplotlib.ticker import MaxNLocator

    ax = axes_in(ax, width=7.5, height=4.0)
    for place, (arm, curve) in enumerate(curves.items()):
        colour, dashes = line_of(place)
        values = [value * metric.unit.factor if math.isfinite(value) else math.nan for value in curve]
        ax.plot(
            range(1, len(values) + 1),
            values,
            color=colour,
            linewidth=1.8,
            linestyle=dashes,
            marker="o",
            markersize=4,
            label=short_name(arm),
        )
    ax.set_xlabel("number of settings tried")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel(axis_label(f"expected best {metric.title}", metric.unit.level), parse_math=False)
    ax.grid(color=MUTED, alpha=0.25, linewidth=0.6)
    ax.legend(frameon=False, labelcolor=INK, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return ax


def picture(found: Findings) -> Picture | None:
    """Return the picture for the report; None for a study without tuning, or with a single setting for each arm."""
    if found.tuning is None or not any(len(choice.candidates) > 1 for choice in found.tuning.choices):
        return None
    caption = (
        "Expected score of the best of k settings of an arm, drawn at random (Dodge et al. 2019), over the first round of the tuning. "
        "A curve that still rises at its end: a larger budget would find a better setting. Arms whose order changes along k: the answer "
        "depends on the budget."
    )
    if found.tuning.declared.tunings > 1:
        caption += " Each curve is the mean over the tunings of an arm."
    return Picture("What the tuning budget buys", caption, figure_of(_drawn(found.tuning.curves, found.tuning.metric)))
