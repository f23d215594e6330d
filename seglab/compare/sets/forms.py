"""A comparison over several data sets as JSON, CSV and LaTeX."""

import csv
import io
from dataclasses import dataclass
from typing import Literal

import msgspec

import seglab
from seglab.compare.forms.document import spelled
from seglab.compare.forms.latex import latex_table
from seglab.compare.forms.spreadsheet import cell
from seglab.compare.numbers.sets import Estimate
from seglab.compare.sets import wording
from seglab.compare.sets.answer import ArmOnSet, ArmOverSets, OverSets
from seglab.compare.sets.table import sets_table

SCHEMA = 1
"""Version of the layout of the JSON form. A field that is added does not change it."""


@dataclass(frozen=True, kw_only=True)
class SetsDocument:
    """Everything that `seglab compare` found out about several data sets: the content of its JSON form."""

    form: Literal["seglab comparison over data sets"] = "seglab comparison over data sets"
    schema: int = SCHEMA
    version: str = seglab.__version__
    """Version of seglab that made the comparison."""
    metric: str
    comparison: OverSets
    """The comparison on each data set, and each arm over all. Scores and differences are in raw units."""
    sentences: dict[str, str]
    """Statement on each arm, by name: what is shown, and what is not."""
    protocol: tuple[str, ...]
    """Sentences that describe how the numbers were computed."""


def sets_to_json(found: OverSets) -> str:
    """Return the comparison as JSON, with every number unrounded. NaN and infinity are strings, as in `to_json`."""
    sentences = {arm.arm: wording.sentence(arm, found) for arm in found.arms}
    document = SetsDocument(metric=str(found.criteria.metric), comparison=found, sentences=sentences, protocol=wording.protocol(found))
    plain = spelled(msgspec.to_builtins(document, str_keys=True))
    return msgspec.json.format(msgspec.json.encode(plain), indent=1).decode() + "\n"


def sets_to_csv(found: OverSets) -> str:
    """Return a row for each arm on each data set, then one for the mean over them, whose `data_set` is empty.

    Numbers are unrounded.

    An undefined number is `NaN`. An empty cell means that there is no such value.
    """
    rows = [row for arm in found.arms for row in (*(_on_set(own, found) for own in arm.sets), _overall(arm, found))]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def sets_to_latex(found: OverSets) -> str:
    """Return the table with a caption and a label."""
    return latex_table(sets_table(found), found.criteria, "tab:data-sets")


def _head(found: OverSets, arm: str, name: str) -> dict[str, object]:
    criteria = found.criteria
    return {
        "metric": str(criteria.metric),
        "baseline": criteria.baseline,
        "exploratory": found.exploratory,
        "arm": arm,
        "data_set": name,
    }


def _on_set(own: ArmOnSet, found: OverSets) -> dict[str, object]:
    contrast = own.contrast
    return {
        **_head(found, contrast.arm, own.name),
        "n": len(contrast.seeds),
        "difference": contrast.difference,
        "low": contrast.low,
        "high": contrast.high,
        "improvement": own.improvement,
        "p": contrast.p,
        "p_holm": contrast.p_holm,
        "verdict": contrast.verdict,
        "reason": contrast.reason,
    }


def _overall(arm: ArmOverSets, found: OverSets) -> dict[str, object]:
    return {
        **_head(found, arm.arm, ""),
        "n": sum(len(own.contrast.seeds) for own in arm.sets),
        "difference": arm.mean.value,
        "low": arm.mean.low,
        "high": arm.mean.high,
        **_estimate("improvement", arm.improvement),
        "p": arm.p,
        "p_holm": arm.p_holm,
        "verdict": arm.verdict,
        "reason": arm.reason,
        **_estimate("median", arm.median),
        **_estimate("interquartile_mean", arm.interquartile_mean),
        "low_new": arm.low_new,
        "high_new": arm.high_new,
    }


def _estimate(name: str, found: Estimate) -> dict[str, object]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
