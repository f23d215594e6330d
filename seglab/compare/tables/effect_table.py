"""Table of the effects of two crossed factors: one row for each effect."""

from itertools import groupby

from rich.console import Group

from seglab.compare import wording
from seglab.compare.numbers.effects import Effect
from seglab.compare.numbers.factorial import Factorial
from seglab.compare.tables.column import Block, Column, Table, escaped, to_group, to_pipes
from seglab.compare.unit import p_value


def columns(factors: Factorial) -> list[Column[Effect]]:
    """Return the columns of the table, from left to right."""
    metric = factors.criteria.metric
    unit = f", {metric.unit.step}" if metric.unit.step else ""
    return [
        Column("effect", lambda effect: _name(effect, factors), align="left", wraps=True),
        Column("n", lambda effect: str(effect.pairs)),
        Column(f"difference{unit} [{factors.criteria.level}]", lambda effect: wording.difference(effect, metric)),
        Column("p", lambda effect: p_value(_judged_p(effect))),
        Column("exploratory" if factors.criteria.exploratory else "verdict", wording.verdict, align="left", verdict=True),
    ]


def effect_table(factors: Factorial) -> Table[Effect]:
    """Return the table: main effects of both factors, interactions, simple effects of both factors."""
    groups = groupby(factors.effects, key=lambda effect: _heading(effect, factors))
    crossed, references = " × ".join(factors.factors), " and ".join(levels[0] for levels in factors.levels)
    return Table(
        columns(factors),
        [Block(heading, list(effects)) for heading, effects in groups],
        legend=_legend(factors),
        title=f"{crossed}: {factors.criteria.metric.title}, effects against {references}",
        remarks=_remarks(factors),
    )


def factors_to_table(factors: Factorial) -> Group:
    """Return the table for `rich.console.Console().print`; at most 100 columns wide, and complete without colour."""
    return to_group(effect_table(factors))


def factors_to_markdown(factors: Factorial) -> str:
    """Return the table as Markdown, for a README or a pull request."""
    table = effect_table(factors)
    return to_pipes(table, f"**{escaped(table.title)}**")


def _legend(factors: Factorial) -> str:
    corrected = factors.criteria.splits is not None
    test, p = ("corrected t", "the corrected t test") if corrected else ("sign-flip", "sign flips")
    unit = "tuning" if factors.criteria.tunings > 1 else "seed"
    return (
        f"Mean difference by {unit} and its {factors.criteria.level} interval of the {test} test, for this effect alone; n: {unit}s that every "
        f"arm involved has. p: {p}, adjusted over all main effects and interactions, and over the single effects of each factor (Holm); of an "
        f"alike or equivalent one, two one-sided {'corrected ' * corrected}t tests. Single effects are exploratory unless their interaction is shown. "
        f"a × b: the effect of a at b minus its effect at {factors.levels[1][0]}. {wording.equivalence_of_effects(factors.criteria)} "
        "Where effects differ, an average over them describes none of them: read the single ones."
    )


def _remarks(factors: Factorial) -> list[str]:
    """Return lines that say why there is no verdict and which data were left out."""
    reasons = {effect.pairs: effect.reason for effect in factors.effects if effect.reason and effect.verdict == "no verdict"}
    doubts = [
        f"{_name(effect, factors)}: inconclusive: {effect.reason}"
        for effect in factors.effects
        if effect.verdict == "inconclusive" and effect.reason
    ]
    return [*(f"no verdict where n is {pairs}: {reasons[pairs]}" for pairs in sorted(reasons)), *doubts, *factors.notes]


def _judged_p(effect: Effect) -> float:
    """Return the p on which the verdict rests."""
    return effect.p_equivalence_holm if effect.verdict in ("equivalent", "effects alike") else effect.p_holm


def _heading(effect: Effect, factors: Factorial) -> str:
    other = factors.factors[1 - factors.factors.index(effect.factor)]
    if effect.kind == "interaction":
        return f"{effect.factor} × {other}, interaction"
    return f"{effect.factor}, averaged over {other}" if effect.kind == "main" else f"{effect.factor}, at each level of {other}"


def _name(effect: Effect, factors: Factorial) -> str:
    if effect.kind == "interaction":
        return f"{effect.level} × {effect.at}"
    reference = factors.levels[factors.factors.index(effect.factor)][0]
    return f"{effect.level} − {reference}{f', at {effect.at}' if effect.at else ''}"
