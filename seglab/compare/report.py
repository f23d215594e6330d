"""Write the report of a study: one self-contained page, without scripts or network, readable on a phone."""

import hashlib
import re
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

from seglab.compare import wording
from seglab.compare.criteria import Criteria
from seglab.compare.findings import Findings
from seglab.compare.front import front
from seglab.compare.images.pictures import png_address, side_by_side
from seglab.compare.plots import classes, curves, differences, interaction, schedules, seeds, tuning, weights
from seglab.compare.plots.picture import Picture
from seglab.compare.tables.arm_table import arm_table, detail_table, fit_table
from seglab.compare.tables.class_table import ClassRow, class_contrast_table, class_table
from seglab.compare.tables.column import Table
from seglab.compare.tables.effect_table import effect_table
from seglab.compare.tables.image_table import image_score_table, image_table
from seglab.compare.tables.shift_table import shift_table
from seglab.compare.tables.tuning_table import tuning_table
from seglab.records import Run, write_text

PICTURES: tuple[Callable[[Findings], Picture | None], ...] = (
    differences.picture,
    seeds.picture,
    curves.picture,
    classes.picture,
    schedules.picture,
    tuning.picture,
    weights.picture,
)
"""The pictures of the report in their order, the first beside the verdicts. A function that returns None has nothing to
show.
"""


_IN_NAMES = "A-Za-z0-9._+=@-"
"""Characters of names of files, as in the brackets of a regular expression."""


def write_report(found: Findings) -> Path:
    """Write the report into the folder of the study, whole or not at all, and return its path.

    The declared comparison is `report.html`. Any other comparison has a file of its own, such as
    `report-val-loss.html`.
    """
    target = found.study.folder / report_name(found.criteria)
    write_text(target, render(found))
    return target


def report_name(criteria: Criteria) -> str:
    """Return the name of the report's file.

    >>> from seglab.compare.metric import Metric
    >>> report_name(Criteria(Metric.parse("val/loss"), "none"))
    'report.html'
    """
    if not criteria.exploratory or criteria.declared is None:
        return "report.html"
    parts = [str(criteria.metric)]
    if criteria.baseline != criteria.declared.baseline:
        parts.append(f"against-{criteria.baseline}")
    if any(line.startswith("margin") for line in criteria.deviations):
        parts.append(f"margin-{criteria.margin:g}")
    if criteria.alpha != criteria.declared.alpha:
        parts.append(f"alpha-{criteria.alpha:g}")
    return f"report-{in_file_name('-'.join(parts), 150)}.html"


def in_file_name(text: str, longest: int) -> str:
    """Return text as a part of a file's name, with at most `longest` characters.

    A text that holds more than letters of ASCII, digits, `._+=@-` and two slashes, or a longer one, ends with a hash of
    all of it: two classes may differ in such characters alone.

    >>> in_file_name("test/iou/car", 80), in_file_name("test/iou/traffic light", 80)
    ('test-iou-car', 'test-iou-traffic-light-f0ac5632')
    """
    plain = re.sub(f"[^{_IN_NAMES}]", "-", text)
    if re.fullmatch(f"[{_IN_NAMES}]+(/[{_IN_NAMES}]+){{0,2}}", text) and len(plain) <= longest:
        return plain
    return f"{plain[: longest - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


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
        front=front(found),
        answer=differences.picture(found.pictured),
        drawn=len(found.pictured.comparison.arms),
        verdicts=[(contrast.verdict, wording.sentence(contrast, comparison)) for contrast in comparison.contrasts],
        arms_table=arm_table(comparison),
        details=detail_table(comparison),
        factors=found.factors,
        interactions=[] if found.factors is None else wording.interactions(found.factors),
        effects=None if found.factors is None else effect_table(found.factors),
        interaction=None if found.factors is None else interaction.picture(found.factors),
        pictures=[picture for make in PICTURES[1:] if (picture := make(found.pictured)) is not None],
        fitted=fit_table(comparison),
        tuned=None if found.tuning is None else tuning_table(found.tuning),
        shifted=shift_table(comparison),
        class_levels=_class_levels(found),
        class_contrasts=None if found.classes is None else class_contrast_table(found.classes),
        classes=found.classes,
        image_intervals=image_table(comparison, found.images),
        image_scores=image_score_table(comparison),
        side_by_side=side_by_side(study.folder, _shown(found.pictured), found.images),
        predictions=_predictions(found.pictured),
        shared=flatten({} if study.record is None else study.record.shared),
        own={} if study.record is None else {arm: flatten(settings) for arm, settings in study.record.arms.items()},
        protocol=[*wording.protocol(found.criteria), *filter(None, [wording.tuning(study.record)])],
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
    results = [result for result in found.compared if result.run.arm in place]
    return class_table(sorted(results, key=lambda result: place[result.run.arm]), found.classes.metric)


def _shown(found: Findings) -> list[Run]:
    """Return the run with the lowest seed of each arm, the baseline first."""
    runs = [result.run for result in found.study.results]
    own = [[run for run in runs if run.arm == summary.arm] for summary in found.comparison.arms]  # none of an arm whose runs all diverged
    return [min(these) for these in own if these]


def _predictions(found: Findings) -> list[tuple[str, int, str]]:
    """Return arm, seed and PNG as a data address of the predictions of each arm's run with the lowest seed.

    Arms whose run has no picture of its predictions are left out.
    """
    paths = [(run, run.directory(found.study.folder) / "predictions.png") for run in _shown(found)]
    return [(run.arm, run.seed, png_address(path.read_bytes())) for run, path in paths if path.is_file()]
