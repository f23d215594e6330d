"""One list of columns for the terminal, Markdown and the report."""

import dataclasses
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from seglab.compare import Comparison, Criteria, Metric, analyse, compare, read_folder, to_markdown, to_table
from seglab.compare.report import render
from seglab.compare.tables import arm_table
from seglab.compare.tables.arm_table import ArmRow
from seglab.compare.tables.column import Block, Column, Table, escaped, to_group, to_pipes
from seglab.records import StudyRecord
from tests.compare.drawn import study, write_study

SCORES = {"none": [0.60, 0.61, 0.62, 0.63, 0.64, 0.65], "l2": [0.62, 0.63, 0.65, 0.66, 0.66, 0.67]}

NASTY = ("~~gone~~", "~x~", "*a* b*", "&amp; &#35;", "[a](b)", "![a](b)", "<i>", "a|b", "_x_", "\\*")
"""Names that mean something else in Markdown."""


class Tables(HTMLParser):
    """Cells of each row of each table of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.tables[-1][-1][-1] += data


def in_terminal(comparison: Comparison) -> str:
    console = Console(width=140, no_color=True, record=True, file=StringIO())
    console.print(to_table(comparison))
    return console.export_text()


def test_a_column_is_one_entry_and_shows_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study(tmp_path, study(SCORES), StudyRecord("study", "none", "test/miou", {}, {"none": {}, "l2": {}}))
    best: Column[ArmRow] = Column("best seed", lambda row: str(max(row.arm.scores, key=lambda seed: row.arm.scores[seed])))
    usual = arm_table.columns
    monkeypatch.setattr(arm_table, "columns", lambda comparison: [*usual(comparison), best])
    found = analyse(read_folder(tmp_path))
    page = Tables()
    page.feed(render(found))
    headers, *rows = page.tables[0]
    markdown = [line.strip("| ").split(" | ") for line in to_markdown(found.comparison).splitlines() if line.startswith("|")]
    assert headers == markdown[0]
    assert [[cell.strip() for cell in row] for row in markdown[2:]] == [[cell or "" for cell in row] for row in rows]
    assert (headers[-1], [row[-1] for row in rows]) == ("best seed", ["5", "5"])
    text = in_terminal(found.comparison)
    for cell in (*headers, *(cell for row in rows for cell in row)):
        assert cell in text


def test_alignment_headings_and_kinds() -> None:
    columns: list[Column[tuple[str, str]]] = [
        Column("name", lambda row: row[0], align="left"),
        Column("size", lambda row: row[1]),
        Column("a|b", lambda row: "x|y"),
    ]
    table = Table(
        columns,
        [Block("first", [("a", "1")]), Block("second", [("b", "22")])],
        "A legend.",
        remarks=["A remark."],
        kind=lambda row: "aside" if row[0] == "b" else "",
    )
    assert to_pipes(table, "**Title**").splitlines() == [
        "**Title**",
        "",
        r"| name | size | a\|b |",
        "| --- | ---: | ---: |",
        "| **first** |  |  |",
        r"| a | 1 | x\|y |",
        "| **second** |  |  |",
        r"| b | 22 | x\|y |",
        "",
        "A legend.",
        "",
        "- A remark.",
    ]
    console = Console(width=60, no_color=True, record=True, file=StringIO())
    console.print(to_group(table))
    lines = [line.rstrip() for line in console.export_text(clear=False).splitlines()]
    assert lines[0] == "name    size  a|b"
    assert "  a        1  x|y" in lines
    assert "  b       22  x|y" in lines
    assert lines[-1] == "! A remark."
    assert (table.size, dataclasses.replace(table, blocks=[]).size) == (2, 0)


def test_markdown_prints_names_as_they_are() -> None:
    """A class of a data set may have any name. Markdown would leave out `<b>`, and print `*a*` and `_a_` in italics."""
    columns: list[Column[str]] = [Column("class", lambda row: row, align="left")]
    names = ["<b>bold</b>", "*a* _a_ `a`", "two_words", "x_", "a\\b", "two\nlines", "p <.001"]
    remarks = [*(f"class {name}: no pixel" for name in NASTY), "class <b>: no pixel; `run` again; p <.001"]
    table = Table(columns, [Block("", [*names, *NASTY])], "", remarks=remarks)
    lines = to_pipes(table, escaped(NASTY[0])).splitlines()
    assert lines[4:11] == [
        r"| \<b>bold\</b> |",
        r"| \*a\* \_a\_ \`a\` |",
        "| two_words |",
        r"| x\_ |",
        r"| a\\b |",
        "| two lines |",
        "| p <.001 |",
    ]
    assert lines[-1] == r"- class \<b>: no pixel; `run` again; p <.001"
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse("\n".join(lines))
    printed = [inline.children or [] for inline in tokens if inline.type == "inline"]
    kinds = {child.type for children in printed[:-1] for child in children}
    texts = ["".join(child.content for child in children) for children in printed]
    assert kinds == {"text"}
    assert texts[0] == NASTY[0]
    assert texts[-len(remarks) - len(NASTY) : -1] == [*NASTY, *(f"class {name}: no pixel" for name in NASTY)]


def test_a_verdict_is_coloured_and_an_arm_of_that_name_is_not() -> None:
    scores = {"none": SCORES["none"], "better": SCORES["l2"]}
    console = Console(width=140, color_system="standard", force_terminal=True, record=True, file=StringIO())
    console.print(to_table(compare(study(scores), Criteria(Metric("test", "miou"), "none"))))
    (line,) = [line for line in console.export_text(styles=True).splitlines() if line.count("better") == 2]
    assert line.index("better") == 0
    assert "\x1b[1;32mbetter" in line
