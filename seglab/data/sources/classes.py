"""Read a table of classes: a CSV of names with colours or labels, or a text file of names, one a line."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from seglab.data.reading.read import opened
from seglab.data.sources.labels import Colour
from seglab.sample import IGNORE

COLUMNS = {
    "r": ("r", "red"),
    "g": ("g", "green"),
    "b": ("b", "blue"),
    "name": ("name", "class_name", "classname", "class", "category", "label_name", "label"),
    "label": ("id", "index", "value", "class_id", "label_id", "label", "class"),
}
"""Names of columns, in lower case, the first that is there counts."""


Key = TypeVar("Key")


@dataclass(frozen=True)
class ClassTable:
    """Classes, and which labels or colours of masks they have."""

    names: tuple[str, ...]
    """Names of the C classes, without the ignored one."""
    palette: tuple[Colour, ...] | None
    """Colour of each class; None if the table has no colours."""
    colours: Mapping[Colour, int] | None
    """Class of each colour, `IGNORE` for an ignored one; None if the table has no colours."""
    labels: Mapping[int, int] | None
    """Class of each label, likewise; None if the table has colours and no labels."""
    has_labels: bool
    """True if a column gives the labels; otherwise they count the rows."""


def class_table(file: Path, ignored: str | None) -> ClassTable:
    """Read a table of classes.

    The columns r, g, b give the colours of masks, a column id, index or value gives the labels of masks. A table of
    names alone gives the first row the label 0. Rows of one name are one class.

    Args:
        file: a `.csv` or `.tsv` with a header, else a text file of names.
        ignored: name of the rows whose pixels are ignored.

    Raises:
        ValueError: the file cannot be read, a column is missing, or a value is wrong or stands twice. The message names
            the line.
    """
    rows = _rows(file)
    if ignored is not None and ignored not in {row.name for row in rows}:
        raise ValueError(
            f"void is {ignored!r}, but {file} has no such class: expected one of {', '.join(dict.fromkeys(row.name for row in rows))}"
        )
    names = tuple(dict.fromkeys(row.name for row in rows if row.name != ignored))
    if not 1 <= len(names) <= IGNORE:
        raise ValueError(f"{file}: {len(names)} classes; expected 1 to {IGNORE}")
    class_of = {name: index for index, name in enumerate(names)} | ({} if ignored is None else {ignored: IGNORE})
    first = {row.name: row.colour for row in reversed(rows)}
    coloured = rows[0].colour is not None
    labelled = [(place if row.label is None else row.label, row) for place, row in enumerate(rows)]
    return ClassTable(
        names,
        tuple(colour for name in names if (colour := first[name]) is not None) if coloured else None,
        _once(file, [(row.colour, row) for row in rows if row.colour is not None], class_of) if coloured else None,
        None if coloured and rows[0].label is None else _once(file, labelled, class_of),
        rows[0].label is not None,
    )


@dataclass(frozen=True)
class _Row:
    line: int
    name: str
    colour: Colour | None
    label: int | None


def _once(file: Path, keyed: Sequence[tuple[Key, _Row]], class_of: Mapping[str, int]) -> dict[Key, int]:
    """Return the class of each label or colour; raise a ValueError if one has two classes."""
    row_of: dict[Key, _Row] = {}
    for key, row in keyed:
        if (before := row_of.setdefault(key, row)).name != row.name:
            raise ValueError(
                f"{file}, line {row.line}: {key} is {row.name!r}, and {before.name!r} in line {before.line}: correct one of them"
            )
    return {key: class_of[row.name] for key, row in row_of.items()}


def _rows(file: Path) -> list[_Row]:
    with opened(file, "a table of classes", "the argument classes") as stream:
        lines = stream.read().decode("utf-8-sig").splitlines()
    rows = _of_table(file, lines) if file.suffix.lower() in (".csv", ".tsv") else _of_names(file, lines)
    if not rows:
        raise ValueError(f"{file}: has no classes; expected the name of a class in each line")
    return rows


def _of_names(file: Path, lines: Sequence[str]) -> list[_Row]:
    """Return a row for each name of a text file."""
    rows = [_Row(number, line.strip(), None, None) for number, line in enumerate(lines, start=1) if line.strip()]
    if comment := next((row for row in rows if row.name.startswith(("#", "//"))), None):
        raise ValueError(
            f"{file}, line {comment.line}: {comment.name!r} is a comment; expected the name of a class in each line: remove it"
        )
    if rows and all(re.match(r"-?\d+\W+\w", row.name) for row in rows):
        raise ValueError(
            f"{file}: each line begins with a number, as in {rows[0].name!r}; expected names alone, for the labels 0, 1, 2, … in the order of "
            "the lines: remove the numbers, or write a .csv with the columns id and name"
        )
    return rows


def _of_table(file: Path, lines: Sequence[str]) -> list[_Row]:
    header = next((line for line in lines if line.strip()), "")
    delimiter = max(",;\t", key=header.count)
    table = [(number, [cell.strip() for cell in row]) for number, row in enumerate(csv.reader(lines, delimiter=delimiter), start=1)]
    table = [(number, row) for number, row in table if any(row)]
    columns = _columns(file, table)
    rows = []
    for number, row in table[1:]:
        if len(row) <= max(columns.values()) or not row[columns["name"]]:
            raise ValueError(f"{file}, line {number}: {delimiter.join(row)!r} lacks a value; expected {delimiter.join(table[0][1])}")
        numbers = {name: _number(file, number, row[column]) for name, column in columns.items() if name != "name"}
        if any(not 0 <= numbers[part] <= 255 for part in "rgb" if part in numbers):
            raise ValueError(f"{file}, line {number}: {delimiter.join(row)!r} has a colour outside 0…255: correct it")
        colour = (numbers["r"], numbers["g"], numbers["b"]) if "r" in numbers else None
        rows.append(_Row(number, row[columns["name"]], colour, numbers.get("label")))
    return rows


def _columns(file: Path, table: Sequence[tuple[int, Sequence[str]]]) -> dict[str, int]:
    """Return the places of the columns name, r, g, b and label, as far as they are there."""
    header = [cell.casefold() for cell in table[0][1]] if table else []
    found: dict[str, int] = {}
    for name, synonyms in COLUMNS.items():
        places = [header.index(word) for word in synonyms if word in header and header.index(word) not in found.values()]
        if name == "name":  # a column of numbers is one of names only if there is no other
            places.sort(key=lambda place: _all_numbers(table, place))
        place = next(iter(places), None)
        if place is not None and (name != "label" or header[place] not in ("label", "class") or _all_numbers(table, place)):
            found[name] = place
    colours = [name for name in "rgb" if name in found]
    if "name" in found and not colours and "label" not in found:
        for place, name in enumerate(header):
            if place not in found.values() and _all_numbers(table, place):
                raise ValueError(
                    f"{file}: its column {name!r} holds numbers: call it id if they are the labels of the masks, or remove it if the labels "
                    "are 0, 1, 2, … in the order of the rows"
                )
    if "name" not in found or len(colours) not in (0, 3):
        raise ValueError(
            f"{file}: its first line is {' '.join(header)!r}; expected a header with the columns class, r, g, b (or name, red, green, blue), "
            "or class and id"
        )
    return found


def _all_numbers(table: Sequence[tuple[int, Sequence[str]]], place: int) -> bool:
    return len(table) > 1 and all(len(row) > place and row[place].lstrip("-").isdecimal() for _, row in table[1:])


def _number(file: Path, line: int, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f"{file}, line {line}: {text!r} is no whole number; expected 0 to 255 for r, g and b, and the label for id"
        ) from None
