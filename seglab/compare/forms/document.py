"""A comparison as JSON, with every number unrounded.

JSON has no NaN and no infinity. These numbers are written as the strings "NaN", "Infinity" and "-Infinity", as in the
JSON form of Protocol Buffers. Python's `float`, pandas' `to_numeric` and R's `as.numeric` read them. `null` always
means that there is no such item.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

import seglab
from seglab.compare import wording
from seglab.compare.findings import Findings
from seglab.compare.images.findings import ImageInterval
from seglab.compare.numbers.answer import Comparison
from seglab.compare.numbers.classes import PerClass
from seglab.compare.numbers.factorial import Factorial
from seglab.records import StudyRecord

SCHEMA = 1
"""Version of the layout of the JSON form. A field that is added does not change it."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """Everything that `seglab compare` found out about a study: the content of its JSON form."""

    form: Literal["seglab comparison"] = "seglab comparison"
    schema: int = SCHEMA
    version: str = seglab.__version__
    """Version of seglab that made the comparison."""
    metric: str
    """Metric of the comparison, such as `test/miou`."""
    comparison: Comparison
    """Criteria, arms with the score of each seed, and contrasts. Scores and differences are in raw units: 0.005 is 0.5
    points of mIoU.
    """
    factors: Factorial | None
    """Effects of the factors; None if the study crosses no factors, or if its results do not form a grid."""
    classes: PerClass | None
    """Contrasts of each class; None without an arm besides the baseline, or without scores of each class."""
    image_intervals: Mapping[str, ImageInterval]
    """Uncertainty of each contrast for new seeds and new images, by arm; empty if it is not known."""
    notes: tuple[str, ...]
    """One line for each item that was left out, and for each limit of the answer."""
    health: tuple[str, ...]
    """One line for each sign that the numbers do not mean what they seem to mean."""
    protocol: tuple[str, ...]
    """Sentences that describe how the numbers were computed."""
    runs: int
    """Number of finished runs."""
    record: StudyRecord | None
    """Content of `study.json`: the declared plan and each arm's settings; None if the file is missing or damaged."""
    versions: tuple[str, ...]
    """Versions of seglab that trained the runs."""
    commits: tuple[str, ...]
    """Commits of the code that trained the runs; `unknown` for a run outside of a repository."""


def document(found: Findings) -> Document:
    """Return the content of the JSON form."""
    results = found.study.results
    return Document(
        metric=str(found.criteria.metric),
        comparison=found.comparison,
        factors=found.factors,
        classes=found.classes,
        image_intervals=found.images.intervals,
        notes=found.notes,
        health=found.health,
        protocol=wording.protocol(found.criteria),
        runs=len(results),
        record=found.study.record,
        versions=tuple(sorted({result.version for result in results})),
        commits=tuple(sorted({"unknown" if result.commit is None else result.commit for result in results})),
    )


def to_json(found: Findings) -> str:
    """Return a comparison as JSON; `read_document` and `read_comparison` read it back."""
    plain = spelled(msgspec.to_builtins(document(found), str_keys=True))
    return msgspec.json.format(msgspec.json.encode(plain), indent=1).decode() + "\n"


def read_document(path: Path) -> Document:
    """Read a file that `seglab compare --format json` wrote.

    Raises:
        ValueError: the file cannot be read, is no such file, or was written by a newer seglab.
    """
    remedy = "Expected a file that `seglab compare STUDY --format json --output FILE` wrote"
    try:
        plain = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON ({error}). {remedy}") from None
    ours = isinstance(plain, dict) and plain.get("form") == "seglab comparison"  # study.json has a schema too
    if ours and isinstance(schema := plain.get("schema"), int) and schema > SCHEMA:
        raise ValueError(f"{path}: was written by seglab {plain.get('version')}, which is newer than {seglab.__version__}: update seglab")
    try:
        return msgspec.convert(plain, Document, strict=False, str_keys=True)
    except (msgspec.ValidationError, OverflowError) as error:  # an integer that no float holds
        raise ValueError(f"{path}: is no comparison ({str(error).replace(' - at `$.', ' at `')}). {remedy}") from None


def read_comparison(path: Path) -> Comparison:
    """Read the `Comparison` in a file of `seglab compare --format json`: equal to the one written, number by number.

    Raises:
        ValueError: see `read_document`.
    """
    return read_document(path).comparison


def spelled(plain: Any) -> Any:
    """Replace NaN and infinities by their names."""
    if isinstance(plain, float) and not math.isfinite(plain):
        return "NaN" if math.isnan(plain) else "Infinity" if plain > 0 else "-Infinity"
    if isinstance(plain, dict):
        return {name: spelled(value) for name, value in plain.items()}
    return [spelled(value) for value in plain] if isinstance(plain, list | tuple) else plain
