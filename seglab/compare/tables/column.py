"""Tables as lists of columns. The terminal, Markdown and the report show the same columns."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

Row = TypeVar("Row")
RowKind = Literal["", "baseline", "aside"]
"""Style of a printed row: as it is, bold, or dim."""

VERDICT_STYLES = {
    "better": "bold green",
    "worse": "bold red",
    "different": "bold magenta",
    "equivalent": "cyan",
    "inconclusive": "yellow",
    "no verdict": "dim",
    "effects differ": "bold magenta",
    "effects alike": "cyan",
    "exploratory": "dim",
}
"""Styles of the verdicts in the terminal."""
_KIND_STYLES = {"": "", "baseline": "bold", "aside": "dim"}


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a table."""

    header: str
    cell: Callable[[Row], str]
    """Return the text of the column in a row."""
    align: Literal["left", "right"] = "right"
    verdict: bool = False
    """Print each cell in the colour of the verdict that it names."""
    wraps: bool = False
    """Break long cells into several lines if the terminal is too narrow."""


@dataclass(frozen=True)
class Block(Generic[Row]):
    """Rows of a table under one heading; the heading is empty in a table of a single block."""

    heading: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Table(Generic[Row]):
    """Columns and rows, and the text around them."""

    columns: Sequence[Column[Row]]
    blocks: Sequence[Block[Row]]
    legend: str
    """Meaning of the rows and columns."""
    title: str = ""
    remarks: Sequence[str] = ()
    """Lines about data that were left out, and about limits of the answer."""
    kind: Callable[[Row], RowKind] = lambda row: ""

    @property
    def headers(self) -> list[str]:
        """Headers of all columns."""
        return [column.header for column in self.columns]

    def cells(self, row: Row) -> list[str]:
        """Return the cells of a row."""
        return [column.cell(row) for column in self.columns]

    @property
    def size(self) -> int:
        """Number of rows."""
        return sum(len(block.rows) for block in self.blocks)


def to_group(table: Table[Row]) -> Group:
    """Return a table for `rich.console.Console().print`. Colours only repeat what the text says."""
    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, collapse_padding=True)
    for column in table.columns:
        grid.add_column(Text(column.header), justify=column.align, no_wrap=not column.wraps, overflow="fold")
    for block in table.blocks:
        if block.heading:
            grid.add_row(Text(block.heading, style="bold"))
        for row in block.rows:
            first, *others = (_styled(column, column.cell(row)) for column in table.columns)
            grid.add_row(Text("  ").append(first) if block.heading else first, *others, style=_KIND_STYLES[table.kind(row)])
    title = [Text(table.title, style="bold"), Text()] if table.title else []
    remarks = [Text(f"! {remark}", style="yellow") for remark in table.remarks]
    return Group(*title, grid, Text(), Text(table.legend, style="dim"), *remarks)


def to_pipes(table: Table[Row], title: str) -> str:
    """Return a Markdown pipe table under `title`, with its legend and remarks."""
    lines = [
        title,
        "",
        _pipes(map(escaped, table.headers)),
        _pipes("---" if column.align == "left" else "---:" for column in table.columns),
    ]
    for block in table.blocks:
        if block.heading:
            lines.append(_pipes([f"**{escaped(block.heading)}**", *[""] * (len(table.columns) - 1)]))
        lines += [_pipes(map(escaped, table.cells(row))) for row in block.rows]
    lines += ["", table.legend, *([""] if table.remarks else []), *(f"- {escaped_line(remark)}" for remark in table.remarks)]
    return "\n".join(lines) + "\n"


def _styled(column: Column[Row], cell: str) -> Text:
    return Text(cell, style=VERDICT_STYLES.get(cell.removesuffix(" ≈"), "") if column.verdict else "")


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


_MARKDOWN = re.compile(r"[\\`*|~$]|&(?=#?\w+;)|\](?=\()|<(?=[A-Za-z/!?])|(?<![^\W_])_|_(?![^\W_])")
"""Characters that Markdown, or GitHub's form of it, does not print."""


def escaped(text: str) -> str:
    r"""Return a text that Markdown prints as it is: a class may be called `<b>`, `*`, `~~x~~` or `_x_`.

    >>> print(escaped("a|b <b> *c* _d_ e_f ~g~ $h$ &lt; [i](j)"))
    a\|b \<b> \*c\* \_d\_ e_f \~g\~ \$h\$ \&lt; [i\](j)
    """
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


def escaped_line(line: str) -> str:
    """Return a line that Markdown prints as it is, except code between backticks."""
    parts = re.split("(`[^`]*`)", line)
    return "".join(part if place % 2 else _MARKDOWN.sub(r"\\\g<0>", part) for place, part in enumerate(parts))
