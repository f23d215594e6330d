"""`seglab dashboard`: a study's workspaces at W&B, made of what its runs have logged."""

import contextlib
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

from seglab.dashboard import panels
from seglab.dashboard.logged import Logged
from seglab.records import write_text
from seglab.transaction_log import Keys

FILE = "dashboard.json"
"""The workspaces as JSON, with their addresses, in the study's folder. A saved workspace is replaced when the command
is repeated.
"""


def check_installed() -> None:
    """Raise a ValueError if wandb-workspaces is missing."""
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError:
        raise ValueError("the package wandb-workspaces is not installed: pip install 'seglab[wandb]'") from None


def workspaces(logged: Logged, entity: str) -> list[Any]:
    """Return the workspace of the study's runs, and that of its tuning runs if it has any.

    Args:
        logged: the study.
        entity: the entity of the workspaces; the logs' own one comes first.
    """
    keys = logged.final
    made = [
        _workspace(
            logged,
            entity,
            "final",
            {
                "Answer": panels.answer(logged.record.metric, keys),
                "Curves": panels.curves(panels.CURVES, keys),
                "Classes": panels.classes(keys),
                "Pictures": panels.pictures(keys),
                "Weights": panels.weights(keys),
                "Freezing": panels.freezing(keys),
                "Cost": panels.cost(keys),
            },
        )
    ]
    if logged.tuning is not None and (shown := panels.tuning(logged.tuning)):
        made.append(_workspace(logged, entity, "tuning", {"Tuning": shown}))
    return made


def _workspace(logged: Logged, entity: str, phase: str, sections: dict[str, list[Any]]) -> Any:
    import wandb_workspaces.workspaces as ws

    keys = logged.final if phase == "final" else logged.tuning or Keys()
    metric = f"summary:{logged.record.metric}"
    pinned = ["config:arm.value", "config:seed.value", *([metric] if logged.record.metric in keys.summary else [])]
    colours: dict[Any, Any] = dict(logged.colours)
    runset = ws.RunsetSettings(
        filters=logged.chosen(phase),
        groupby=[ws.Config("arm")],
        group_colors=colours,
        pinned_columns=pinned,
        baseline_run=logged.baseline_run if phase == "final" else None,
    )
    shown = [
        ws.Section(name=name, panels=panels_, is_open=place < 2, layout_settings=ws.SectionLayoutSettings(columns=3, rows=2))
        for place, (name, panels_) in enumerate((name, made) for name, made in sections.items() if made)
    ]
    study = re.sub("[+=]", "_", logged.record.study)  # the package takes a sign of mathematics for an emoji, which it refuses
    name = study if phase == "final" else f"{study}: {phase}"
    settings = ws.WorkspaceSettings(x_axis=panels.STEP, smoothing_type="none", max_runs=100)
    return ws.Workspace(
        entity=logged.entity or entity, project=logged.project, name=name, sections=shown, settings=settings, runset_settings=runset
    )


def as_json(made: list[Any], urls: list[str]) -> str:
    """Return workspaces as JSON."""
    views = [
        view._to_model().model_dump(mode="json", by_alias=True, exclude_none=True) for view in made
    ]  # the package has no public name for it
    return json.dumps({"workspaces": views, "urls": urls}, indent=1, ensure_ascii=False) + "\n"


def save(made: list[Any], folder: Path) -> list[str]:
    """Save workspaces at W&B, in place of those that an earlier call has saved, and return their addresses."""
    import wandb_workspaces.workspaces as ws

    os.environ["WANDB_SILENT"] = "true"
    urls = []
    for view, url in zip(made, [*saved_before(folder), None, None], strict=False):
        view._internal_name = f"nw-{secrets.token_hex(6)}-v"  # the package's own names may end with "nw", which its addresses lose
        if url is not None:
            with contextlib.suppress(ValueError, KeyError):  # it was deleted at W&B
                before = ws.Workspace.from_url(url)
                view._internal_name, view._internal_id = before._internal_name, before._internal_id
        urls.append(str(view.save().url))
    return urls


def saved_before(folder: Path) -> list[str]:
    """Return the addresses of the workspaces that an earlier call has saved."""
    try:
        return [str(url) for url in json.loads((folder / FILE).read_text(encoding="utf-8"))["urls"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def write(folder: Path, text: str) -> Path:
    """Write the workspaces into the study's folder, and return the file."""
    write_text(folder / FILE, text)
    return folder / FILE
