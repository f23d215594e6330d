"""A comparison as a table: for the terminal, as markdown, as a pandas frame."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from seglab.compare import words
from seglab.compare.numbers.comparison import ArmSummary, Comparison, Contrast

if TYPE_CHECKING:
    import pandas as pd

STYLES = {
    "better": "bold green",
    "worse": "bold red",
    "equivalent": "cyan",
    "inconclusive": "yellow",
    "no verdict": "dim",
    "effects differ": "bold magenta",
    "effects alike": "cyan",
}
"""Of verdicts, in the terminal."""


def headers(comparison: Comparison) -> list[str]:
    """The names of the columns; the first and the last but two are words, the rest numbers."""
    measures = [f"{_short(metric)} {words.unit(metric).level}".rstrip() for metric in (comparison.metric, *_companion(comparison))]
    return ["arm", "n", *measures, f"difference [{100 * (1 - comparison.alpha):g} %]", "p", "verdict", "zeros %", "s/run"]


def rows(comparison: Comparison) -> list[list[str]]:
    """One row per arm, the baseline first: the cells as text, in the order of `headers`."""
    contrasts = {contrast.arm: contrast for contrast in comparison.contrasts}
    return [_row(arm, contrasts.get(arm.arm), comparison) for arm in comparison.arms]


def legend(comparison: Comparison) -> str:
    """What the columns mean, in two or three plain sentences."""
    step = words.unit(comparison.metric).step
    interval = f"{100 * (1 - comparison.alpha):g} % interval"
    return (
        f"Mean ± standard deviation over n seeds. Difference: arm minus baseline{f' in {step}' if step else ''}, by seed, [{interval}]. "
        "p: sign flips, adjusted over the contrasts (Holm). "
        f"Equivalent: within {words.margin(comparison)}; ≈ marks a real difference that small."
    )


def remarks(comparison: Comparison) -> list[str]:
    """Why there is no verdict, where there is none, and what was left out."""
    reasons = dict.fromkeys(contrast.reason for contrast in comparison.contrasts if contrast.reason)
    return [*(f"no verdict is possible: {reason}" for reason in reasons), *comparison.notes]


def to_table(comparison: Comparison) -> Group:
    """For `rich.console.Console().print`; 100 columns wide, and complete without colour."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, collapse_padding=True)
    for place, name in enumerate(headers(comparison)):
        word = name in ("arm", "verdict")
        table.add_column(Text(name), justify="left" if word else "right", no_wrap=place > 0, overflow="fold")
    for arm, row in zip(comparison.arms, rows(comparison), strict=True):
        baseline = arm.arm == comparison.baseline
        cells = [Text(cell, style=STYLES.get(cell.removesuffix(" ≈"), "")) for cell in row]
        table.add_row(*cells, style="bold" if baseline else "")
    title = Text(f"{comparison.study}: {words.metric_name(comparison.metric)} against {comparison.baseline}", style="bold")
    notes = [Text(f"! {note}", style="yellow") for note in remarks(comparison)]
    return Group(title, Text(), table, Text(), Text(legend(comparison), style="dim"), *notes)


def to_markdown(comparison: Comparison) -> str:
    """A pipe table with its legend and notes, for a README or a pull request."""
    lines = [f"**{comparison.study}**: {words.metric_name(comparison.metric)} against {comparison.baseline}", ""]
    lines += [pipes(headers(comparison)), pipes(["---" if name in ("arm", "verdict") else "---:" for name in headers(comparison)])]
    lines += [pipes(row) for row in rows(comparison)]
    lines += ["", legend(comparison), *([""] if remarks(comparison) else []), *(f"- {note}" for note in remarks(comparison))]
    return "\n".join(lines) + "\n"


def to_frame(comparison: Comparison) -> "pd.DataFrame":
    """One row per arm with every raw number, in the metric's own units; the baseline's contrast is empty."""
    import pandas as pd

    contrasts = {contrast.arm: asdict(contrast) for contrast in comparison.contrasts}
    records = [
        {"arm": arm.arm}
        | asdict(arm.score)
        | {key: value for key, value in contrasts.get(arm.arm, {}).items() if key != "arm"}
        | {name: spread.mean for name, spread in arm.secondary.items()}
        for arm in comparison.arms
    ]
    return pd.DataFrame.from_records(records).set_index("arm")


def _row(arm: ArmSummary, contrast: Contrast | None, comparison: Comparison) -> list[str]:
    companions = [_secondary(arm, metric) for metric in _companion(comparison)]
    cells = [arm.arm, str(arm.score.n), words.spread(arm.score, comparison.metric), *companions]
    if contrast is None:
        return [*cells, "baseline", "", "", *_costs(arm)]
    how = words.unit(comparison.metric)
    difference = words.signed(contrast.difference * how.factor, how.digits)
    shown = f"{difference} {words.interval(contrast.low, contrast.high, comparison.metric)}".rstrip()
    verdict = f"{contrast.verdict} ≈" if contrast.within_margin and contrast.verdict in ("better", "worse") else contrast.verdict
    return [*cells, shown, words.p_value(contrast.p_holm), verdict, *_costs(arm)]


def _secondary(arm: ArmSummary, metric: str) -> str:
    return words.spread(arm.secondary[metric], metric) if metric in arm.secondary else words.UNDEFINED


def _costs(arm: ArmSummary) -> list[str]:
    zeros, seconds = arm.secondary.get("cost/exact_zeros"), arm.secondary.get("cost/seconds")
    return [
        words.UNDEFINED if zeros is None else words.number(zeros.mean * 100, 1),
        words.UNDEFINED if seconds is None else words.number(seconds.mean, 0 if seconds.mean >= 100 else 1),
    ]


def _companion(comparison: Comparison) -> list[str]:
    """Mean Dice on the same split, or mean IoU where Dice is the metric; nothing if no arm has it."""
    split = "val" if comparison.metric.startswith("val/") else "test"
    metric = f"{split}/miou" if comparison.metric == f"{split}/dice" else f"{split}/dice"
    return [metric] if any(metric in arm.secondary for arm in comparison.arms) else []


def _short(metric: str) -> str:
    return words.metric_name(metric).partition(" ")[2] or metric


def pipes(cells: Sequence[str]) -> str:
    """A row of a markdown table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
