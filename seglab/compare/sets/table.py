"""Table of a comparison over several data sets: a block for each arm, with a row for each data set and for all."""

import math
from typing import NamedTuple

from rich.console import Group

from seglab.compare.metric import Metric
from seglab.compare.numbers.sets import Estimate
from seglab.compare.sets import wording
from seglab.compare.sets.answer import ArmOnSet, ArmOverSets, OverSets
from seglab.compare.tables.column import Block, Column, Table, escaped, escaped_line, to_group, to_pipes
from seglab.compare.unit import UNDEFINED, number, p_value
from seglab.compare.wording import verdict


class SetRow(NamedTuple):
    """Cells of an arm on one data set, or over all."""

    name: str
    seeds: str
    difference: str
    improvement: str
    p: str
    verdict: str
    overall: bool


def sets_table(found: OverSets) -> Table[SetRow]:
    """Return the table."""
    metric, criteria = found.criteria.metric, found.criteria
    unit = f", {metric.unit.step}" if metric.unit.step else ""
    return Table(
        [
            Column("data set", lambda row: row.name, align="left", wraps=True),
            Column("n", lambda row: row.seeds),
            Column(f"difference{unit} [{criteria.level}]", lambda row: row.difference),
            Column("P(X > Y)", lambda row: row.improvement),
            Column("p", lambda row: row.p),
            Column("exploratory" if found.exploratory else "verdict", lambda row: row.verdict, align="left", verdict=True),
        ],
        [Block(arm.arm, [*(_on_set(own, metric) for own in arm.sets), _overall(arm, found)]) for arm in found.arms],
        legend=" ".join(wording.protocol(found)),
        title=f"{len(found.sets)} data sets: {metric.title} against {criteria.baseline}"
        + (" (exploratory: not the declared comparison)" if found.exploratory else ""),
        remarks=found.notes,
        kind=lambda row: "baseline" if row.overall else "",
    )


def sets_to_table(found: OverSets) -> Group:
    """Return the table for `rich.console.Console().print`."""
    return to_group(sets_table(found))


def sets_to_markdown(found: OverSets) -> str:
    """Return the table, and a sentence for each arm, as Markdown."""
    table = sets_table(found)
    sentences = "\n".join(f"- {escaped_line(wording.sentence(arm, found))}" for arm in found.arms)
    return f"{to_pipes(table, f'**{escaped(table.title)}**')}\n{sentences}\n"


def _on_set(own: ArmOnSet, metric: Metric) -> SetRow:
    contrast, unit = own.contrast, metric.unit
    difference = f"{unit.difference(contrast.difference)} {unit.interval(contrast.low, contrast.high)}".rstrip()
    p = contrast.p_equivalence_holm if contrast.verdict == "equivalent" else contrast.p_holm
    return SetRow(own.name, str(len(contrast.seeds)), difference, number(own.improvement, 2), p_value(p), verdict(contrast), overall=False)


def _overall(arm: ArmOverSets, found: OverSets) -> SetRow:
    unit = found.criteria.metric.unit
    seeds = sum(len(own.contrast.seeds) for own in arm.sets)
    difference = f"{unit.difference(arm.mean.value)} {unit.interval(arm.mean.low, arm.mean.high)}".rstrip()
    p = p_value(arm.p_holm) if arm.verdict != "no verdict" else UNDEFINED
    return SetRow(f"mean of {len(found.sets)}", str(seeds), difference, _share(arm.improvement), p, arm.verdict, overall=True)


def _share(estimate: Estimate) -> str:
    """Return a probability and its interval; no interval if every draw has the same value, which is no certainty."""
    if not math.isfinite(estimate.low) or estimate.low == estimate.high:
        return number(estimate.value, 2)
    return f"{number(estimate.value, 2)} [{number(estimate.low, 2)}, {number(estimate.high, 2)}]"
