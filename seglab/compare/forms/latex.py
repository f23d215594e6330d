r"""A comparison as LaTeX tables for a paper. They need `\usepackage{booktabs}`."""

import math
import re
from collections.abc import Sequence
from typing import TypeVar

import seglab
from seglab.compare import wording
from seglab.compare.criteria import Criteria
from seglab.compare.findings import Findings
from seglab.compare.numbers.answer import Comparison
from seglab.compare.numbers.factorial import Factorial
from seglab.compare.tables.arm_table import arm_table
from seglab.compare.tables.class_table import class_contrast_table
from seglab.compare.tables.column import Table
from seglab.compare.tables.effect_table import effect_table

Row = TypeVar("Row")

_GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega"
_LARGE_GREEK = "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
TEXT_WIDTH = 345.0
"""Width in points of the text of LaTeX's class `article`, with its default options. A table is made to fit in it."""

_ROWS = 38
"""Largest number of lines in the body of a table. More do not fit on a page of `article` below a long caption."""

_SIZES = ((r"\footnotesize", 1.0, 3), (r"\scriptsize", 0.96, 2), (r"\scriptsize", 0.96, 1.5))
"""Font sizes, width of their letters relative to the first, and half the space between columns in points."""

_NARROWEST = 45.0
"""Smallest width in points of a column whose cells are broken into lines."""

_SPELLED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': "''",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "−": "$-$",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\to$",
    "←": r"$\leftarrow$",
    "∇": r"$\nabla$",
    "‖": r"$\Vert$",
    "ⁿ": "$^n$",
    "½": "$1/2$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "\n": " ",
    "\0": "{}",
    **{sign: f"$^{digit}$" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{sign: f"$_{digit}$" for digit, sign in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    **{sign: f"$\\{name}$" for sign, name in zip("αβγδεζηθικλμνξπρστυφχψω", _GREEK.split(), strict=True)},
    **{sign: f"$\\{name}$" for sign, name in zip("ΓΔΘΛΞΠΣΥΦΨΩ", _LARGE_GREEK.split(), strict=True)},
}
"""LaTeX of the characters that LaTeX reads as commands, or does not know."""


def escape(text: str) -> str:
    r"""Return text that LaTeX prints as it is.

    Letters of scripts that pdfLaTeX does not know stay; LuaLaTeX and XeLaTeX print them.

    >>> print(escape("50 % of a_b, −1 ± α"))
    50 \% of a\_b, $-$1 $\pm$ $\alpha$
    """
    apart = re.sub("-(?=-)", "-\0", text)  # two hyphens would become a dash
    return "".join(_SPELLED.get(letter, letter) for letter in apart)


def to_latex(comparison: Comparison) -> str:
    """Return the main table with a caption and a label."""
    return latex_table(arm_table(comparison), comparison.criteria, f"tab:{comparison.study}")


def factors_to_latex(factors: Factorial) -> str:
    """Return the table of the effects of two factors with a caption and a label."""
    return latex_table(effect_table(factors), factors.criteria, f"tab:{factors.study}-effects")


def findings_to_latex(found: Findings, classes: bool = False) -> str:
    """Return the main table and, if there are factors, the table of their effects.

    With `classes`, also return the table of the classes.
    """
    tables = [to_latex(found.comparison)]
    if found.factors is not None:
        tables.append(factors_to_latex(found.factors))
    if classes and found.classes is not None:
        tables.append(latex_table(class_contrast_table(found.classes), found.criteria, f"tab:{found.comparison.study}-classes"))
    return "\n".join(tables)


def latex_table(table: Table[Row], criteria: Criteria, label: str) -> str:
    """Return a table with its caption: title, meaning of the columns, and what one observation is.

    A table that is longer than a page goes on in further tables of the same number.
    """
    title = f"{table.title}. " if table.title else ""
    caption = f"{title}{table.legend} {wording.protocol(criteria)[1]}"
    size, space, widths = _layout(table)
    aligned = "".join(
        f"p{{{width:.0f}pt}}" if width is not None else "l" if column.align == "left" else "r"
        for column, width in zip(table.columns, widths, strict=True)
    )
    lines = [
        f"% seglab {seglab.__version__}; needs \\usepackage{{booktabs}}",
        *(f"% {' '.join(remark.split())}" for remark in table.remarks),
    ]
    named = [f"\\caption{{{escape(caption)}}}", f"\\label{{{re.sub('[^A-Za-z0-9:.-]', '-', label)}}}"]
    for rows in _pages(table, widths):
        lines += [
            r"\begin{table}",
            r"  \centering",
            f"  {size}",
            f"  \\setlength{{\\tabcolsep}}{{{space:g}pt}}",
            *(f"  {line}" for line in named),
            f"  \\begin{{tabular}}{{@{{}}{aligned}@{{}}}}",
            r"    \toprule",
            f"    {_row(table.headers)}",
            r"    \midrule",
            *(f"    {line}" for line in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
        named = [r"\addtocounter{table}{-1}", r"\caption{(continued)}"]
    return "\n".join(lines) + "\n"


def _layout(table: Table[Row]) -> tuple[str, float, list[float | None]]:
    """Return the font size, half the space between columns, and the widths of the columns.

    The space and the widths are in points. The width is None unless the cells of the column are broken into lines.

    Columns that wrap are broken only if the table is too wide otherwise, the widest first.
    """
    rows = [table.headers, *(table.cells(row) for block in table.blocks for row in block.rows)]
    natural = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    for size, scale, space in _SIZES:  # noqa: B007 - used after the loop
        room = TEXT_WIDTH - 2 * space * (len(natural) - 1)
        widths: list[float | None] = [None] * len(natural)
        left = room - scale * sum(width for width, column in zip(natural, table.columns, strict=True) if not column.wraps)
        wrapping = sorted((width, place) for place, width in enumerate(natural) if table.columns[place].wraps)
        for more, (width, place) in zip(range(len(wrapping), 0, -1), wrapping, strict=True):
            share = left / more
            if scale * width > share:
                widths[place] = max(_NARROWEST, share)
            left -= min(scale * width, share)
        if left >= 0 and all(width is None or width > _NARROWEST for width in widths):
            break
    return size, space, widths


_WIDTHS = {"ijl.,:;!|'[]": 2.4, " ": 2.9, "()rstf-": 3.4, "cez": 3.8, "agox/": 4.3, "w": 6.2, "mW%+=<>@−±≈×": 7.1}
"""Widths of letters in the first of `_SIZES`, in points; by the widths of Computer Modern."""


def _width(text: str) -> float:
    """Return about the width of a text in the first of `_SIZES`, in points."""
    known = {letter: width for letters, width in _WIDTHS.items() for letter in letters}
    return sum(known.get(letter, 4.3 if letter.isdigit() else 6.4 if letter.isupper() else 4.8) for letter in text)


def _pages(table: Table[Row], widths: Sequence[float | None]) -> list[list[str]]:
    """Return the rows of a table, with the headings of its blocks, in parts that fit on a page."""
    pages: list[list[str]] = [[]]
    used = 0
    for block in table.blocks:
        heading = [f"\\multicolumn{{{len(table.columns)}}}{{@{{}}l}}{{\\emph{{{escape(block.heading)}}}}} \\\\"] if block.heading else []
        for place, cells in enumerate(map(table.cells, block.rows)):
            height = max(1 if width is None else math.ceil(_width(cell) / width) for cell, width in zip(cells, widths, strict=True))
            if used > 0 and used + height > _ROWS:
                pages.append([])
                used = 0
            if place == 0 or used == 0:
                pages[-1] += [*([r"\addlinespace"] if used > 0 else []), *heading]
                used += len(heading)
            pages[-1].append(_row(cells, [width is not None for width in widths]))
            used += height
    return pages


def _row(cells: Sequence[str], broken: Sequence[bool] = ()) -> str:
    """Return a row. Cells of broken columns may break after a sign."""
    parts = [_breaking(cell) if place < len(broken) and broken[place] else escape(cell) for place, cell in enumerate(cells)]
    line = " & ".join(parts)
    return f"{'{}' if line.startswith(('[', '*')) else ''}{line} \\\\"  # after a row LaTeX reads [ and * as arguments of its end


def _breaking(cell: str) -> str:
    """Return the text of a cell that may break after each sign between two parts of a name."""
    parts = [part for part in re.split(r"(?<=[-_+=@,.])", cell) if part]
    return "\\raggedright " + r"\allowbreak{}".join(map(escape, parts))
