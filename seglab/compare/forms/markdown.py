"""A comparison as Markdown, for a README, a pull request or a lab book."""

from seglab.compare import wording
from seglab.compare.findings import Findings
from seglab.compare.tables.arm_table import to_markdown
from seglab.compare.tables.class_table import class_contrast_table
from seglab.compare.tables.column import escaped_line, to_pipes
from seglab.compare.tables.effect_table import factors_to_markdown


def findings_to_markdown(found: Findings, classes: bool = False) -> str:
    """Return the main table, the effects of the factors, the signs of bad health and the protocol.

    With `classes`, also return the table of each class.
    """
    parts = [to_markdown(found.comparison)]
    if found.health:
        parts.append(_list("Before you trust the numbers:", found.health))
    if found.factors is not None:
        parts.append(factors_to_markdown(found.factors))
    if classes and found.classes is not None:
        parts.append(to_pipes(class_contrast_table(found.classes), f"**{found.classes.metric.title} of each class** (exploratory)"))
    parts.append(_list("How it was measured:", wording.protocol(found.criteria)))
    return "\n".join(parts)


def _list(title: str, lines: tuple[str, ...]) -> str:
    return "\n".join([title, "", *(f"- {escaped_line(line)}" for line in lines)]) + "\n"
