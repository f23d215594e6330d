"""`seglab report --wandb`: a study's answer as a report at W&B. All its statistics come from the files of the study."""

import contextlib
import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seglab.compare import Findings, analyse, factors_to_markdown, read_folder, to_markdown, wording
from seglab.dashboard import drawn, panels
from seglab.dashboard.drawn import Gallery
from seglab.dashboard.logged import Logged
from seglab.records import write_text

FILE = "wandb_report.json"
"""The report as JSON, with its address, in the study's folder."""


@dataclass(frozen=True)
class Saved:
    """Content of a report at W&B."""

    url: str | None = None
    """Address of the report."""
    pictures: str | None = None
    """Id of the run that holds the pictures."""


def findings(folder: Path) -> Findings:
    """Return what `seglab compare` finds out about a study.

    Raises:
        ValueError: no run has a result yet, or the results do not belong together.
    """
    study = read_folder(folder)
    if not study.results:
        raise ValueError(f"{folder}: no finished run yet, nothing to report")
    return analyse(study, study.criteria())


def markdown(found: Findings) -> str:
    """Return the answer as Markdown: verdicts as sentences, the table of `compare`, warnings and the protocol.

    The protocol says how the numbers were computed.
    """
    comparison = found.comparison
    lines = [*(f"- **{contrast.verdict}**: {wording.sentence(contrast, comparison)}" for contrast in comparison.contrasts), ""]
    lines += [to_markdown(comparison), ""]
    if found.factors is not None:
        lines += [factors_to_markdown(found.factors), ""]
    lines += [f"- ⚠ {note}" for note in (*found.health, *found.factor_notes, *found.notes)]
    tuned = wording.tuning(found.study.record)
    lines += ["", *wording.protocol(found.criteria), *([tuned] if tuned else [])]
    return "\n".join(lines)


def report(found: Findings, logged: Logged, entity: str | None, gallery: Gallery) -> Any:
    """Return the report: the answer, its pictures, the panels with a fixed set of runs, and the commands.

    Args:
        found: the answer.
        logged: what the runs have logged.
        entity: the default entity; None if W&B is not to be asked, which it is for a set of runs with an entity.
        gallery: the pictures of report.html.
    """
    import wandb_workspaces.reports.v2 as wr
    from wandb_workspaces import expr

    record, keys = logged.record, logged.final
    owner = logged.entity or entity or os.environ.get("WANDB_ENTITY", "")
    of, project = ("", "") if entity is None else (owner, logged.project)
    runs = wr.Runset(entity=of, project=project, name=record.study, filters=logged.chosen("final"), groupby=["config.arm"])
    drawings = wr.Runset(
        entity=of, project=project, name=f"pictures of {record.study}", filters=[expr.Config("identity") == gallery.run_id]
    )
    colours: dict[Any, Any] = {
        wr.RunsetGroup(runset_name=record.study, keys=(wr.RunsetGroupKey(key=wr.Config("arm"), value=arm),)): colour
        for arm, colour in logged.colours.items()
    }
    folder = shlex.quote(str(logged.folder))
    blocks: list[Any] = [
        wr.H1(f"{record.study}: {found.criteria.metric.title} against {found.criteria.baseline}"),
        wr.MarkdownBlock(text=markdown(found)),
    ]
    if gallery.pictures:
        blocks += [wr.H2("Pictures of the comparison"), wr.MarkdownBlock(text=drawn.captions(gallery))]
        blocks.append(wr.PanelGrid(runsets=[drawings], panels=drawn.panels(gallery)))
    blocks.append(wr.MarkdownBlock(text=panels.NOTE))
    parts = {
        "Curves": panels.curves(panels.CURVES, keys),
        "Answer by arm": panels.answer(record.metric, keys)[1:],
        "Freezing": panels.freezing(keys),
        "Classes": panels.classes(keys),
        "Pictures": panels.pictures(keys),
    }
    for name, made in parts.items():
        if made:
            blocks += [wr.H2(name), wr.PanelGrid(runsets=[runs], panels=made, custom_run_colors=colours)]
    blocks += [wr.H2("Commands"), wr.MarkdownBlock(text=f"```\nseglab compare {folder}\nseglab report --wandb {folder}\n```")]
    return wr.Report(
        entity=owner, project=logged.project, title=f"{record.study}: comparison", description="by seglab", width="fluid", blocks=blocks
    )


def as_json(made: Any, saved: Saved) -> str:
    """Return a report as JSON, with what is saved of it at W&B."""
    view = made._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)  # the package has no public name for it
    return json.dumps({"report": view, "url": saved.url, "pictures": saved.pictures}, indent=1, ensure_ascii=False) + "\n"


def save(made: Any, folder: Path) -> str:
    """Save a report at W&B, in place of the one that an earlier call has saved, and return its address."""
    import wandb_workspaces.reports.v2 as wr

    os.environ["WANDB_SILENT"] = "true"
    url = saved_before(folder).url
    if url is not None:
        with contextlib.suppress(ValueError, KeyError, TypeError):  # it was deleted at W&B
            made.id = wr.Report.from_url(url).id
    made.save()
    return str(made.url)


def saved_before(folder: Path) -> Saved:
    """Return what an earlier call has saved."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return Saved(found["url"], found.get("pictures"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Saved()


def write(folder: Path, text: str) -> Path:
    """Write the report into the study's folder, and return the file."""
    write_text(folder / FILE, text)
    return folder / FILE
