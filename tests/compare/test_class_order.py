"""Classes in the order in which people look for the rare ones."""

import dataclasses
import math
from io import StringIO

from rich.console import Console

from seglab.compare import classes_to_table, per_class
from seglab.compare.tables.class_table import class_table
from seglab.records import Result
from tests.compare.drawn import result

NAMES = ("pole", "road", "car", "sky")


def found(arm: str, seed: int, iou: tuple[float, ...]) -> Result:
    drawn = result(arm, seed, 0.5, classes=NAMES, iou=iou)
    return dataclasses.replace(drawn, per_class={"test": {"iou": iou, "frequency": (0.01, 0.6, 0.09, 0.3)}})


def shown(results: list[Result]) -> tuple[list[str], list[list[str]]]:
    table = class_table(results)
    return table.headers, [table.cells(row) for block in table.blocks for row in block.rows]


def test_classes_go_from_frequent_to_rare() -> None:
    results = [found("none", 0, (0.1, 0.9, 0.4, 0.8)), found("l2", 0, (0.2, 0.9, 0.5, 0.6)), found("l2", 1, (math.nan, 0.8, 0.5, 0.6))]
    results.append(found("none", 1, (0.3, 0.7, 0.4, 0.8)))
    headers, rows = shown(results)
    assert headers == ["arm", "road", "sky", "car", "pole"]
    assert rows == [
        ["pixels", "60.0", "30.0", "9.0", "1.0"],
        ["none", "80.0", "80.0", "40.0", "20.0"],
        ["l2", "85.0", "60.0", "50.0", "20.0"],  # undefined in one seed: the mean of the other
    ]
    cells = per_class(results, "none").cells
    assert [cell.class_name for cell in cells] == ["road", "sky", "car", "pole"]
    assert [round(cell.difference, 9) for cell in cells] == [0.05, -0.2, 0.1, 0.1]
    console = Console(width=100, record=True, file=StringIO())
    console.print(classes_to_table(results))
    assert "from frequent to rare" in console.export_text()


def test_without_frequencies_the_labels_give_the_order() -> None:
    results = [result("none", 0, 0.5, classes=NAMES)]
    assert shown(results) == (["arm", *NAMES], [["none", *["50.0"] * 4]])
