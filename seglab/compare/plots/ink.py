"""What all pictures have in common: matplotlib figures on the Agg canvas (no pyplot: no global state, no window).

Text and lines use one ink, which the report turns into the page's own colour; matplotlib is imported when a picture is asked for.
"""

from typing import TYPE_CHECKING

from seglab.compare import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1b1f24"
MUTED = "#8b949e"
ACCENT = "#d55e00"
_ARM_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7e57c2", "#a1887f", "#b8860b")
"""Okabe & Ito 2008 and three more, told apart with colour-blind eyes and on light and dark ground; with other dashes from the tenth on."""


def line_of(place: int) -> tuple[str, str]:
    """Colour and dashes of the arm, or the level, at a place."""
    return _ARM_COLOURS[place % len(_ARM_COLOURS)], ("-", "--", ":", "-.")[place // len(_ARM_COLOURS) % 4]


def canvas(width: float, height: float) -> "Figure":
    """Inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def figure_with_axes(width: float, height: float) -> tuple["Figure", "Axes"]:
    """Inches."""
    figure = canvas(width, height)
    axes = figure.add_subplot()
    dress(axes)
    return figure, axes


def dress(axes: "Axes") -> None:
    """Ink on the letters, and only the two lines that carry a scale."""
    axes.tick_params(colors=INK, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    for side, spine in axes.spines.items():
        spine.set_color(MUTED)
        spine.set_visible(side in ("left", "bottom"))


def axis_label(metric: str, level: str) -> str:
    """A metric with the unit of its values."""
    return f"{words.metric_name(metric)}{f', {level}' if level else ''}"


def depth(stage: str) -> tuple[int, int, str]:
    """To sort by: encoder stages by their number, then decoder, then head, then what is no part of a network with stages."""
    part, _, number = stage.partition(".")
    return {"encoder": 0, "decoder": 1, "head": 2}.get(part, 3), int(number) if number.isdecimal() else 0, stage
