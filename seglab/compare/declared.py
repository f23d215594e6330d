"""The declared analysis of a study: compared with a request, and with what it was before an amendment."""

from collections.abc import Sequence

from seglab.compare.metric import Metric
from seglab.records import Amendment, Analysis, StudyRecord

_FIELDS = {
    "baseline": "baseline",
    "metric": "metric",
    "margin": "margin",
    "alpha": "alpha",
    "arms": "arms",
    "seeds": "seeds",
    "looks": "looks",
    "always_valid": "always valid",
    "added_seeds": "exploratory seeds",
    "dropped_arms": "dropped arms",
}


def declared_analysis(record: StudyRecord) -> Analysis:
    """Return the declared analysis of a record.

    For a record without one: baseline, metric and arms, and seeds that are not declared.
    """
    if record.analysis is not None:
        return record.analysis
    return Analysis(record.baseline, record.metric, Metric.parse(record.metric).margin, 0.05, record.arm_names, (), tunings=record.tunings)


def analysis_changes(before: Analysis, after: Analysis) -> list[str]:
    """Return a line for each difference of two analyses, such as `seeds: 0–6 → 0–9`."""
    pairs = {name: (getattr(before, field), getattr(after, field)) for field, name in _FIELDS.items()}
    return [f"{name}: {shown(old)} → {shown(new)}" for name, (old, new) in pairs.items() if old != new]


def amendment_note(amendment: Amendment) -> str:
    """Return the sentence that every comparison shows about an amendment."""
    changes = "; ".join(analysis_changes(amendment.before, amendment.after))
    return f"amended on {amendment.time[:10]}, with {amendment.finished} finished runs: {changes}. Reason: {amendment.why}"


def shown(value: object) -> str:
    """Return a value of an analysis as text; consecutive seeds as a range.

    >>> shown((0, 1, 2, 5)), shown(("none", "l2")), shown(()), shown(None)
    ('0–2, 5', 'none, l2', 'none', 'none')
    """
    if not isinstance(value, Sequence) or isinstance(value, str):
        return "none" if value is None else str(value)
    if not value:
        return "none"
    return ", ".join(_ranges(value) if all(isinstance(item, int) for item in value) else map(str, value))


def shown_seeds(seeds: Sequence[int]) -> str:
    """Return seeds as text with their noun.

    >>> shown_seeds([3]), shown_seeds([3, 5]), shown_seeds([0, 1, 2])
    ('seed 3', 'seeds 3, 5', 'seeds 0–2')
    """
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {shown(tuple(seeds))}"


def _ranges(numbers: Sequence[int]) -> list[str]:
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
