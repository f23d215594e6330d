"""A picture of the report."""

import warnings
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

from seglab.compare.plots.style import INK

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure with its title, which is also its alternative text, and a caption that says how to read it."""

    title: str
    caption: str
    figure: "Figure"

    @property
    def drawing(self) -> "Markup":
        """The figure as inline SVG: transparent, in the text colour of the page, with text that the browser renders."""
        import matplotlib
        from markupsafe import Markup, escape

        file = StringIO()
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": self.title}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser's fonts contain the letters of every class name
            self.figure.savefig(file, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": None})
        drawing = file.getvalue()
        drawing = drawing[drawing.index("<svg") :].replace(INK, "currentColor")
        width = self.figure.get_figwidth()
        style = f"min-width: {78 * width:.0f}px; max-width: {118 * width:.0f}px"
        return Markup(drawing.replace("<svg", f'<svg role="img" aria-label="{escape(self.title)}" style="{style}"', 1))
