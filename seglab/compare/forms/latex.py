r"""A comparison as LaTeX tables for a paper. They need `\usepackage{booktabs}`."""

import re
from collections.abc import Iterator
from typing import TypeVar

import seglab
from seglab.compare import words
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
    r"""Return text that LaTeX prints as it is. Letters of scripts that pdfLaTeX does not know stay; LuaLaTeX and XeLaTeX print them.

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
    """Return the main table and the table of the effects of the factors, if there are any; with `classes` that of the classes too."""
    tables = [to_latex(found.comparison)]
    if found.factors is not None:
        tables.append(factors_to_latex(found.factors))
    if classes and found.classes is not None:
        tables.append(latex_table(class_contrast_table(found.classes), found.criteria, f"tab:{found.comparison.study}-classes"))
    return "\n".join(tables)


def latex_table(table: Table[Row], criteria: Criteria, label: str) -> str:
    """Return a table with its caption: title, meaning of the columns, and what one observation is."""
    title = f"{table.title}. " if table.title else ""
    caption = f"{title}{table.legend} {words.protocol(criteria)[1]}"
    aligned = "".join("l" if column.align == "left" else "r" for column in table.columns)
    lines = [
        f"% seglab {seglab.__version__}; needs \\usepackage{{booktabs}}",
        *(f"% {' '.join(remark.split())}" for remark in table.remarks),
        r"\begin{table}",
        r"  \centering",
        r"  \footnotesize",
        r"  \setlength{\tabcolsep}{3pt}",
        f"  \\caption{{{escape(caption)}}}",
        f"  \\label{{{re.sub('[^A-Za-z0-9:.-]', '-', label)}}}",
        f"  \\begin{{tabular}}{{@{{}}{aligned}@{{}}}}",
        r"    \toprule",
        f"    {_row(table.headers)}",
        r"    \midrule",
        *(f"    {line}" for line in _body(table)),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _body(table: Table[Row]) -> Iterator[str]:
    for place, block in enumerate(table.blocks):
        if place:
            yield r"\addlinespace"
        if block.heading:
            yield f"\\multicolumn{{{len(table.columns)}}}{{@{{}}l}}{{\\emph{{{escape(block.heading)}}}}} \\\\"
        for row in block.rows:
            yield _row(table.cells(row))


def _row(cells: list[str]) -> str:
    line = " & ".join(map(escape, cells))
    return f"{'{}' if line.startswith(('[', '*')) else ''}{line} \\\\"  # after a row LaTeX reads [ and * as arguments of its end
