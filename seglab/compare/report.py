"""Write the report of a study: one self-contained page, without scripts or network, readable on a phone."""

import base64
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

from seglab.compare import words
from seglab.compare.findings import Findings
from seglab.compare.plots import classes, curves, differences, interaction, schedules, seeds, weights
from seglab.compare.plots.picture import Picture
from seglab.compare.tables.arm_table import arm_table, detail_table, fit_table
from seglab.compare.tables.class_table import ClassRow, class_contrast_table, class_table
from seglab.compare.tables.column import Table
from seglab.compare.tables.effect_table import effect_table
from seglab.compare.tables.shift_table import shift_table
from seglab.records import write_text

PICTURES: tuple[Callable[[Findings], Picture | None], ...] = (
    differences.picture,
    seeds.picture,
    curves.picture,
    classes.picture,
    schedules.picture,
    weights.picture,
)
"""The pictures of the report in their order. A function that returns None has nothing to show."""


def write_report(found: Findings) -> Path:
    """Write `report.html` into the folder of the study, whole or not at all, and return its path."""
    target = found.study.folder / "report.html"
    write_text(target, render(found))
    return target


def render(found: Findings) -> str:
    """Return the page. All text that comes from files is escaped."""
    import jinja2

    study, comparison = found.study, found.comparison
    template = resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        comparison=comparison,
        criteria=found.criteria,
        runs=len(study.results),
        seeds=len({result.run.seed for result in study.results}),
        verdicts=[(contrast.verdict, words.sentence(contrast, comparison)) for contrast in comparison.contrasts],
        arms_table=arm_table(comparison),
        details=detail_table(comparison),
        factors=found.factors,
        interactions=[] if found.factors is None else words.interactions(found.factors),
        effects=None if found.factors is None else effect_table(found.factors),
        interaction=None if found.factors is None else interaction.picture(found.factors),
        pictures=[picture for make in PICTURES if (picture := make(found)) is not None],
        fitted=fit_table(comparison),
        shifted=shift_table(comparison),
        class_levels=_class_levels(found),
        class_contrasts=None if found.classes is None else class_contrast_table(found.classes),
        classes=found.classes,
        predictions=_predictions(found),
        shared=flatten({} if study.record is None else study.record.shared),
        own={} if study.record is None else {arm: flatten(settings) for arm, settings in study.record.arms.items()},
        protocol=[*words.protocol(found.criteria), *filter(None, [words.tuning(study.record)])],
        notes=found.notes,
        health=found.health,
        versions=sorted({result.version for result in study.results}),
        commits=sorted({"unknown" if result.commit is None else result.commit for result in study.results}),
    )


def flatten(settings: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as dotted names and values, in their order.

    >>> flatten({"data": {"root": "camvid", "size": None}, "epochs": 30})
    [('data.root', 'camvid'), ('data.size', 'None'), ('epochs', '30')]
    """
    flat: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat += flatten(value, f"{prefix}{key}.")
        else:
            flat.append((f"{prefix}{key}", str(value)))
    return flat


def _class_levels(found: Findings) -> Table[ClassRow] | None:
    """Return the table of the classes, the baseline in its first row; None if the classes are unknown."""
    if found.classes is None:
        return None
    place = {arm: place for place, arm in enumerate((found.classes.baseline, *found.classes.arms))}
    results = [result for result in found.study.results if result.run.arm in place]
    return class_table(sorted(results, key=lambda result: place[result.run.arm]), found.classes.metric)


def _predictions(found: Findings) -> list[tuple[str, int, str]]:
    """Return arm, seed and PNG as a data address for each arm whose run with the lowest seed has a picture of its predictions."""
    shown = []
    for arm in (summary.arm for summary in found.comparison.arms):
        runs = sorted(result.run for result in found.study.results if result.run.arm == arm)
        path = runs[0].directory(found.study.folder) / "predictions.png"
        if path.is_file():
            shown.append((arm, runs[0].seed, f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"))
    return shown
