"""One self-contained page that answers a study's question: no script, no network, readable on a phone."""

import base64
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from seglab.compare import words
from seglab.compare.folder import StudyFolder, compare_folder, compare_folder_factors, read_folder
from seglab.compare.logs.curves import Curves, read_curves
from seglab.compare.logs.rates import StageRates, read_rates
from seglab.compare.logs.weights import StageCurves, read_stage_curves
from seglab.compare.numbers.classes import PerClass, per_class
from seglab.compare.numbers.comparison import Comparison
from seglab.compare.numbers.factorial import Factorial
from seglab.compare.plots import ink, plots
from seglab.compare.plots.plot_factorial import plot_interaction
from seglab.compare.plots.plot_schedule import plot_schedules
from seglab.compare.tables import class_table, factorial_table, table
from seglab.records import write_text

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """An inline drawing, and one line on how to read it."""

    title: str
    drawing: "Markup"
    caption: str


@dataclass(frozen=True)
class ClassLevels:
    """The table of every arm in every class."""

    headers: list[str]
    rows: list[list[str]]
    legend: str


@dataclass(frozen=True)
class Crossed:
    """The section on two crossed factors."""

    title: str
    sentences: list[tuple[str, str]]
    headers: list[str]
    blocks: list[factorial_table.Block]
    legend: str
    picture: Picture


def write_report(
    folder: Path, *, baseline: str | None = None, metric: str | None = None, alpha: float = 0.05, margin: float = 0.005
) -> Path:
    """Write `folder/report.html` (whole or not at all) and return its path; the arguments are those of `compare_folder`."""
    study = read_folder(folder)
    comparison = compare_folder(study, baseline=baseline, metric=metric, alpha=alpha, margin=margin)
    target = folder / "report.html"
    write_text(target, render(study, comparison))
    return target


def render(study: StudyFolder, comparison: Comparison) -> str:
    """The page as text. Everything that comes from files is escaped."""
    import jinja2

    classes, class_notes = _classes(study, comparison)
    factors, factor_notes = compare_folder_factors(study, comparison)
    runs = [result.run for result in study.results]
    curves, curve_notes = read_curves(study.folder, runs)
    template = resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        comparison=comparison,
        metric=words.metric_name(comparison.metric),
        runs=len(study.results),
        seeds=len({result.run.seed for result in study.results}),
        verdicts=[(contrast.verdict, words.sentence(contrast, comparison)) for contrast in comparison.contrasts],
        headers=table.headers(comparison),
        rows=table.rows(comparison),
        legend=table.legend(comparison),
        details=_details(comparison),
        factors=None if factors is None else _crossed(factors),
        pictures=_pictures(comparison, classes, curves, read_rates(study.folder, runs), read_stage_curves(study.folder, runs)),
        fitted=_fitted(comparison),
        class_levels=None if classes is None else _class_levels(study, classes),
        class_rows=[] if classes is None else _class_rows(classes),
        class_metric="" if classes is None else words.metric_name(f"{classes.split}/{classes.score}"),
        predictions=_predictions(study, comparison),
        shared=flatten({} if study.record is None else study.record.shared),
        arms={} if study.record is None else {arm: flatten(own) for arm, own in study.record.arms.items()},
        protocol=[*words.protocol(comparison), *filter(None, [words.tuning(study.record)])],
        notes=(*comparison.notes, *factor_notes, *class_notes, *curve_notes),
        versions=sorted({result.version for result in study.results}),
        commits=sorted({"unknown" if result.commit is None else result.commit for result in study.results}),
    )


def to_svg(figure: "Figure", label: str) -> "Markup":
    """A figure as an inline drawing: transparent, its ink the page's text colour, its words text that the browser sets."""
    import matplotlib
    from markupsafe import Markup, escape

    file = StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has the letters of every class name
        figure.savefig(file, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": None})
    drawing = file.getvalue()
    drawing = drawing[drawing.index("<svg") :].replace(ink.INK, "currentColor")
    width = f"min-width: {78 * figure.get_figwidth():.0f}px; max-width: {118 * figure.get_figwidth():.0f}px"
    return Markup(drawing.replace("<svg", f'<svg role="img" aria-label="{escape(label)}" style="{width}"', 1))


def flatten(settings: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names and values, in their order: `data.init_args.root`, `data/camvid`."""
    flat: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat += flatten(value, f"{prefix}{key}.")
        else:
            flat.append((f"{prefix}{key}", str(value)))
    return flat


def _classes(study: StudyFolder, comparison: Comparison) -> tuple[PerClass | None, tuple[str, ...]]:
    if not comparison.contrasts:
        return None, ()
    try:
        classes = per_class(study.results, comparison.baseline, split="val" if comparison.metric.startswith("val/") else "test")
    except ValueError as error:
        return None, (f"no per-class results: {error}",)
    return classes, classes.notes


def _crossed(factors: Factorial) -> Crossed:
    first, second = factors.factors
    title = f"{first} × {second}"
    caption = (
        f"Line: the means of one level of {first} over the levels of {second}; small dots: the runs. "
        "Parallel lines: the effect of one does not depend on the other."
    )
    return Crossed(
        title=title,
        sentences=factorial_table.sentences(factors),
        headers=factorial_table.headers(factors),
        blocks=factorial_table.blocks(factors),
        legend=factorial_table.legend(factors),
        picture=Picture(title, to_svg(plot_interaction(factors), title), caption),
    )


def _fitted(comparison: Comparison) -> list[list[str]]:
    """Per arm: mIoU on training images, on validation images, and the gap between them, mean over the seeds; nothing where it is unknown."""
    return [
        [arm.arm, *(words.spread(arm.secondary[metric], metric) for metric in ("train/miou", "val/miou", "gap/miou"))]
        for arm in comparison.arms
        if "gap/miou" in arm.secondary
    ]


def _class_levels(study: StudyFolder, classes: PerClass) -> ClassLevels:
    kept = {summary: place for place, summary in enumerate([classes.baseline, *dict.fromkeys(cell.arm for cell in classes.cells)])}
    results = sorted((result for result in study.results if result.run.arm in kept), key=lambda result: kept[result.run.arm])
    return ClassLevels(
        class_table.class_headers(results, classes.split, classes.score),
        class_table.class_rows(results, classes.split, classes.score),
        class_table.class_legend(classes.split, classes.score),
    )


def _class_rows(classes: PerClass) -> list[list[str]]:
    return [
        [
            cell.class_name,
            cell.arm,
            str(cell.n),
            words.signed(100 * cell.difference, 2),
            words.interval(cell.low, cell.high, f"{classes.split}/{classes.score}"),
            words.p_value(cell.p),
            words.p_value(cell.p_bh),
        ]
        for cell in classes.cells
    ]


def _details(comparison: Comparison) -> list[list[str]]:
    return [
        [
            contrast.arm,
            str(len(contrast.seeds)),
            words.p_value(contrast.p),
            words.p_value(contrast.p_holm),
            words.p_value(contrast.p_equivalence_holm),
            words.signed(contrast.effect_size, 2),
            words.number(contrast.superiority, 2),
            words.signed(contrast.correlation, 2),
        ]
        for contrast in comparison.contrasts
    ]


def _pictures(comparison: Comparison, classes: PerClass | None, curves: Curves, rates: StageRates, stages: StageCurves) -> list[Picture]:
    level = f"{100 * (1 - comparison.alpha):g} %"
    shown: list[tuple[str, Figure, str]] = []
    if comparison.contrasts:
        caption = (
            f"Large dot and bar: mean difference and {level} interval. Small dots: pairs. Band: the margin, {words.margin(comparison)}."
        )
        shown.append(("Differences from the baseline", plots.plot_differences(comparison), caption))
    caption = "Each dot is one run, each line one seed across the arms, each bar a mean. Parallel lines: the seed acts alike on all arms."
    shown.append(("Every run", plots.plot_seeds(comparison), caption))
    if curves:
        caption = "Line: mean over the seeds; shade: from the lowest to the highest seed. For looking, not for judging."
        shown.append(("Learning curves", plots.plot_curves(curves), caption))
    if classes is not None and classes.class_names:
        caption = "Frequent classes left, rare ones right. Blue: the arm is better in this class; red: worse. Bold: adjusted p at most 0.05. Not declared beforehand."
        shown.append(("Class by class (exploratory)", plots.plot_classes(classes), caption))
    if rates:
        caption = (
            "The learning rate that was applied to each stage, by optimizer step as logged, in one run of each arm (the lowest seed). "
            "Top: the head; bottom: the stage at the input. Hatched: frozen."
        )
        shown.append(("When which stage trained", plot_schedules(rates), caption))
    if stages:
        caption = (
            "Mean over the seeds, by optimizer step. Where a norm layer takes the scale out, ‖w‖ sets the effective learning rate η/‖w‖²."
        )
        shown.append(("What happened to the weights", plots.plot_stages(stages), caption))
    return [Picture(title, to_svg(figure, title), caption) for title, figure, caption in shown]


def _predictions(study: StudyFolder, comparison: Comparison) -> list[tuple[str, int, str]]:
    """Arm, seed and PNG as a data address, for the lowest seed of each arm that has a picture."""
    found = []
    for arm in (summary.arm for summary in comparison.arms):
        runs = sorted(result.run for result in study.results if result.run.arm == arm)
        path = runs[0].directory(study.folder) / "predictions.png"
        if path.is_file():
            found.append((arm, runs[0].seed, f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"))
    return found
