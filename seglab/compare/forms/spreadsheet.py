"""A comparison as CSV: one row for each arm, numbers unrounded and in raw units."""

import csv
import io
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from seglab.compare.numbers.answer import ArmSummary, Comparison


def to_csv(comparison: Comparison, amendments: int | None = None) -> str:
    """Return a row for each arm, the baseline first: mean and spread, contrast with the baseline, and other metrics.

    An empty cell means that there is no such value: the baseline has no contrast. An undefined number is `NaN`. The
    columns are

    - `study`, `metric`, `baseline`, `arm`;
    - `exploratory`: whether this is not the declared comparison; `amendments`: how often the declared analysis was
      amended after the first result;
    - `n`, `mean`, `sd`, `min`, `max` of the scores of the arm;
    - each field of `Contrast` under its name; several values in one cell, such as `seeds`, are separated by spaces;
    - the mean of each other metric under the metric's name, such as `test/dice`, and its standard deviation, such as
      `test/dice sd`.

    Args:
        comparison: the comparison.
        amendments: number of amendments in `study.json`; None, an empty cell, if it is not known.
    """
    contrasts = {contrast.arm: contrast for contrast in comparison.contrasts}
    rows = [{**_head(comparison, arm, amendments), **_flat(contrasts.get(arm.arm)), **_others(arm)} for arm in comparison.arms]
    names = list(dict.fromkeys(name for row in (*rows[1:], *rows) for name in row))  # the first row, the baseline's, has no contrast
    file = io.StringIO()
    writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def _head(comparison: Comparison, arm: ArmSummary, amendments: int | None) -> dict[str, object]:
    criteria = comparison.criteria
    of_study = {"study": comparison.study, "metric": str(criteria.metric), "baseline": criteria.baseline, "arm": arm.arm}
    return {**of_study, "exploratory": criteria.exploratory, "amendments": amendments, **_flat(arm.score)}


def _others(arm: ArmSummary) -> dict[str, object]:
    return {name: value for metric, spread in arm.secondary.items() for name, value in ((metric, spread.mean), (f"{metric} sd", spread.sd))}


def _flat(record: object) -> dict[str, object]:
    """Return the fields of a dataclass by name, those of a dataclass inside it as `outer.inner`; empty for None."""
    plain: Any = msgspec.to_builtins(record, str_keys=True)
    return _dotted(plain) if isinstance(plain, dict) else {}


def _dotted(plain: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in plain.items():
        if isinstance(value, dict):
            flat |= _dotted(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def cell(value: object) -> str:
    """Return the text of a value: numbers with all their digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else repr(value)
    return " ".join(map(cell, value)) if isinstance(value, list | tuple) else str(value)
