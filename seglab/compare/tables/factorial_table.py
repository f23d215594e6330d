"""The effects of two factors as people read them: a table for the terminal and as markdown, a sentence for each interaction."""

from itertools import groupby

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from seglab.compare import words
from seglab.compare.numbers.effects import Effect
from seglab.compare.numbers.factorial import Factorial
from seglab.compare.tables.table import STYLES, pipes

Block = tuple[str, list[list[str]]]
"""What is adjusted together: its title, and a row for each effect in the order of `headers`."""


def title(factors: Factorial) -> str:
    """`penalty × schedule: test mIoU, effects against none and full`."""
    crossed, references = " × ".join(factors.factors), " and ".join(levels[0] for levels in factors.levels)
    return f"{crossed}: {words.metric_name(factors.metric)}, effects against {references}"


def headers(factors: Factorial) -> list[str]:
    """The names of the columns; the first and the last are words, the rest numbers."""
    step = words.unit(factors.metric).step
    return ["effect", "n", f"difference{f', {step}' if step else ''} [{100 * (1 - factors.alpha):g} %]", "p", "verdict"]


def blocks(factors: Factorial) -> list[Block]:
    """Main effects of either factor, interactions, simple effects of either factor."""
    groups = groupby(factors.effects, key=lambda effect: _block_title(effect, factors))
    return [(name, [_row(effect, factors) for effect in effects]) for name, effects in groups]


def legend(factors: Factorial) -> str:
    """What the rows and columns mean, in a few plain sentences."""
    interval = f"{100 * (1 - factors.alpha):g} % interval"
    return (
        f"Mean difference by seed and its {interval}; n: seeds that every arm involved has. p: sign flips, adjusted within each block (Holm). "
        f"a × b: the effect of a at b minus its effect at {factors.levels[1][0]}. Effects alike, equivalent: within {words.margin(factors)}; "
        "≈ marks a real difference that small. Where effects differ, an average over them describes none of them: read the single ones."
    )


def remarks(factors: Factorial) -> list[str]:
    """Where there is no verdict, and why; and what was left out."""
    reasons = {len(effect.seeds): effect.reason for effect in factors.effects if effect.reason}
    return [*(f"no verdict where n is {pairs}: {reasons[pairs]}" for pairs in sorted(reasons)), *factors.notes]


def sentences(factors: Factorial) -> list[tuple[str, str]]:
    """The verdict of each interaction, and the same in plain words with its numbers."""
    return [(effect.verdict, _sentence(effect, factors)) for effect in factors.effects if effect.kind == "interaction"]


def factors_to_table(factors: Factorial) -> Group:
    """For `rich.console.Console().print`; 100 columns wide, and complete without colour."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, collapse_padding=True)
    for name in headers(factors):
        word = name in ("effect", "verdict")
        table.add_column(Text(name), justify="left" if word else "right", no_wrap=name != "effect", overflow="fold")
    for name, rows in blocks(factors):
        table.add_row(Text(name, style="bold"))
        for row in rows:
            table.add_row(*(Text(cell, style=STYLES.get(cell.removesuffix(" ≈"), "")) for cell in (f"  {row[0]}", *row[1:])))
    notes = [Text(f"! {note}", style="yellow") for note in remarks(factors)]
    return Group(Text(title(factors), style="bold"), Text(), table, Text(), Text(legend(factors), style="dim"), *notes)


def factors_to_markdown(factors: Factorial) -> str:
    """A pipe table with its legend and notes, for a README or a pull request."""
    names = headers(factors)
    lines = [f"**{title(factors)}**", "", pipes(names), pipes(["---" if name in ("effect", "verdict") else "---:" for name in names])]
    for name, rows in blocks(factors):
        lines += [pipes([f"**{name}**", *[""] * (len(names) - 1)]), *map(pipes, rows)]
    lines += ["", legend(factors), *([""] if remarks(factors) else []), *(f"- {note}" for note in remarks(factors))]
    return "\n".join(lines) + "\n"


def _block_title(effect: Effect, factors: Factorial) -> str:
    other = factors.factors[1 - factors.factors.index(effect.factor)]
    if effect.kind == "interaction":
        return f"{effect.factor} × {other}, interaction"
    return f"{effect.factor}, averaged over {other}" if effect.kind == "main" else f"{effect.factor}, at each level of {other}"


def _row(effect: Effect, factors: Factorial) -> list[str]:
    how = words.unit(factors.metric)
    difference = words.signed(effect.difference * how.factor, how.digits)
    shown = f"{difference} {words.interval(effect.low, effect.high, factors.metric)}".rstrip()
    verdict = f"{effect.verdict} ≈" if effect.within_margin and effect.verdict in ("better", "worse", "effects differ") else effect.verdict
    return [_name(effect, factors), str(len(effect.seeds)), shown, words.p_value(effect.p_holm), verdict]


def _name(effect: Effect, factors: Factorial) -> str:
    if effect.kind == "interaction":
        return f"{effect.level} × {effect.at}"
    return f"{_against(effect, factors)}{f', at {effect.at}' if effect.at else ''}"


def _against(effect: Effect, factors: Factorial) -> str:
    return f"{effect.level} − {factors.levels[factors.factors.index(effect.factor)][0]}"


def _sentence(effect: Effect, factors: Factorial) -> str:
    """Of an interaction."""
    how, seeds, reference = words.unit(factors.metric), len(effect.seeds), factors.levels[1][0]
    own = f"the effect of {effect.level} (against {factors.levels[0][0]})"
    if seeds == 0:
        return f"Whether {own} depends on {factors.factors[1]} is unknown for {effect.at}: no seed has all four arms that it takes."
    size = f"{words.signed(effect.difference * how.factor, how.digits)} {how.step}".rstrip()
    over = f"over {seeds} seed{'s' if seeds > 1 else ''}"
    level = f"{100 * (1 - factors.alpha):g} % interval {words.range_of(effect.low * how.factor, effect.high * how.factor, how.digits)}"
    if effect.verdict == "effects differ":
        small = f" The difference is real, but within the margin of {words.margin(factors)}." if effect.within_margin else ""
        found = f"{own} at {effect.at} differs from that at {reference} by {size} ({level}), adjusted {words.equals(effect.p_holm)} {over}.{small}"
    elif effect.verdict == "effects alike":
        found = (
            f"{own} is alike at {effect.at} and at {reference}, within {words.margin(factors)}: {size} ({level}), "
            f"adjusted {words.equals(effect.p_equivalence_holm)} {over}."
        )
    elif effect.verdict == "inconclusive":
        found = (
            f"whether {own} differs between {effect.at} and {reference} is inconclusive: {size} ({level}), "
            f"adjusted {words.equals(effect.p_holm)} {over}."
        )
    else:
        found = f"whether {own} differs between {effect.at} and {reference} has no verdict: {size} {over}, {effect.reason}."
    return found[0].upper() + found[1:]
