"""Colours, figures and axes that all plots share.

Figures use the Agg canvas without pyplot: no global state, and no window. Text and lines have one colour, which the
report replaces by the text colour of the page. Matplotlib is imported on first use.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

INK = "#1b1f24"
MUTED = "#8b949e"
ACCENT = "#d55e00"
_ARM_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7e57c2", "#a1887f", "#b8860b")
"""Colours of Okabe & Ito 2008 and three more. Colour-blind readers can distinguish them, on light and on dark
backgrounds.
"""

MOST_LETTERS = 60
"""Largest number of letters of a name that is drawn whole."""
MOST_COLUMNS = 6
"""Largest number of columns whose names are not tilted."""
LETTERS_IN_A_LINE = 54
"""Letters that fit below a plot in one line, if each column has as many as the longest name."""


def line_of(place: int) -> tuple[str, str]:
    """Return the colour and the dashes of the arm at a place.

    From the tenth arm on, colours repeat with other dashes.
    """
    return _ARM_COLOURS[place % len(_ARM_COLOURS)], ("-", "--", ":", "-.")[place // len(_ARM_COLOURS) % 4]


def canvas(width: float, height: float) -> "Figure":
    """Return an empty figure; width and height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def axes_in(ax: "Axes | None", width: float, height: float) -> "Axes":
    """Return `ax` or, if it is None, the axes of a new figure (width and height in inches), in the plots' style."""
    return dress(canvas(width, height).add_subplot() if ax is None else ax)


def figure_of(ax: "Axes") -> "Figure":
    """Return the figure that holds `ax`."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("these axes have been removed from their figure: draw on axes that belong to one")
    return figure


def panel_of(ax: "Axes") -> "Figure | SubFigure":
    """Return the figure or the part of a figure that holds `ax`: a colour bar is placed in it."""
    figure = ax.get_figure()
    return figure_of(ax) if figure is None else figure


def dress(ax: "Axes") -> "Axes":
    """Set the style of all plots: text in ink, and only the two spines that carry a scale."""
    ax.tick_params(colors=INK, labelsize=9)
    ax.xaxis.label.set_color(INK)
    ax.yaxis.label.set_color(INK)
    for side, spine in ax.spines.items():
        spine.set_color(MUTED)
        spine.set_visible(side in ("left", "bottom"))
    return ax


def axis_label(title: str, unit: str) -> str:
    """Return a label such as `test mIoU, %`."""
    return f"{title}, {unit}" if unit else title


def short_name(name: str) -> str:
    """Return a name, without its middle if it has more than `MOST_LETTERS` letters."""
    half = (MOST_LETTERS - 1) // 2
    return name if len(name) <= MOST_LETTERS else f"{name[:half]}…{name[-half:]}"


def name_columns(ax: "Axes", names: Sequence[str]) -> None:
    """Write a name below each of the columns 0, 1, ...; tilted if the names would meet."""
    tilted = len(names) > MOST_COLUMNS or len(names) * max(map(len, names)) > LETTERS_IN_A_LINE
    shown = [short_name(name) for name in names]
    ax.set_xticks(range(len(names)), shown, rotation=30 if tilted else 0, ha="right" if tilted else "center")


def depth(stage: str) -> tuple[int, int, str]:
    """Return a sort key: encoder stages by number, decoder, head, then stages of networks without such parts."""
    part, _, number = stage.partition(".")
    return {"encoder": 0, "decoder": 1, "head": 2}.get(part, 3), int(number) if number.isdecimal() else 0, stage
