"""The outcomes of the checks, printed as lines for people."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from seglab.checking.candidate import Subject
from seglab.checking.checks import CHECKS, Check, outcomes
from seglab.checking.outcomes import Outcome

STYLES = {"✓": "green", "✗": "bold red", "–": "dim"}
WIDTH = max(len(check.title) for check in CHECKS)


def report(candidate: Subject, title: str, console: Console) -> int:
    """Print each outcome as soon as its check has run, and return the number of failures."""
    console.print(Text(f"{title}, {candidate.classes} class{'es' * (candidate.classes > 1)}\n"))
    found: list[Outcome] = []
    with console.status("checking"):
        for check, outcome in outcomes(candidate):
            console.print(_line(check, outcome))
            found.append(outcome)
    failures, untried = sum(outcome.failed for outcome in found), len(CHECKS) - len(found)
    console.print(Text(f"\n{failures if failures else 'nothing'} failed{f', {untried} not tried' if untried else ''}"))
    return failures


def _line(check: Check, outcome: Outcome) -> Table:
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(width=1)
    line.add_column(width=WIDTH)
    line.add_column(ratio=1)
    line.add_row(Text(outcome.mark, STYLES[outcome.mark]), check.title, Text(outcome.measured))
    if outcome.failed:
        line.add_row("", "", Text(check.advice, "italic"))
    return line
