"""State of a run's log at W&B, in the run's folder: `wandb/seglab.json`."""

import json
import logging
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from seglab.records import write_json
from seglab.tracking.config import PROJECT, Described

log = logging.getLogger("seglab")


@dataclass(frozen=True)
class Wanted:
    """Project, entity, tags and notes of a run at W&B, as the user wants them."""

    project: str
    entity: str | None
    """None for the default entity of the user."""
    tags: str
    """Further tags, with commas between them."""
    notes: str


@dataclass(frozen=True)
class State:
    """The log of a run at W&B, as its last attempt has left it."""

    described: Described
    project: str
    mode: Literal["online", "offline"]
    complete: bool = False
    """True if the run has ended and everything of it is at W&B, or in an offline log that is whole."""
    url: str | None = None
    """Page of an online run."""
    problem: str | None = None
    """Reason why an attempt is offline, or why its log is not complete."""
    lacks_scores: bool = False
    """True if scores have joined the result of the run after the end of its log."""
    entity: str | None = None
    """Entity of the run; empty for the default entity of the user, and None if an earlier seglab has not said it."""
    tags: str = ""
    """WANDB_TAGS of the run."""
    notes: str = ""
    """WANDB_NOTES of the run."""

    @property
    def wanted(self) -> Wanted:
        """Return what the user's variables said when the run was logged."""
        return Wanted(self.project, os.environ.get("WANDB_ENTITY") if self.entity is None else self.entity or None, self.tags, self.notes)


def wanted(described: Described, offline: bool) -> Wanted:
    """Return what the user's variables say about a run that is about to start, or to continue.

    A run stays in the project and under the entity where W&B has a part of it, or where its offline logs will go.
    Otherwise, one run would be torn between two projects.
    """
    get = os.environ.get
    found = Wanted(get("WANDB_PROJECT", PROJECT), get("WANDB_ENTITY"), get("WANDB_TAGS", ""), get("WANDB_NOTES", ""))
    before = read_state(described.directory)
    if before is None or described.id is None or before.described.id != described.id or not (offline or before.url is not None):
        return found
    began = before.wanted
    if began.project != found.project or found.entity not in (None, began.entity):
        place = "/".join(filter(None, (began.entity, began.project)))
        log.warning("This run began in %s at W&B and stays there: WANDB_PROJECT and WANDB_ENTITY count for runs that have not begun", place)
    return replace(found, project=began.project, entity=began.entity)


def path_of(directory: Path) -> Path:
    """Return the path of the state in the folder of a run."""
    return directory / "wandb" / "seglab.json"


def read_state(directory: Path) -> State | None:
    """Read the state of a run's log; None if the run has none, or the file is damaged."""
    try:
        raw = json.loads(path_of(directory).read_text(encoding="utf-8"))
        return msgspec.convert(raw, State, dec_hook=lambda kind, value: kind(value))
    except (OSError, ValueError):  # of a run without W&B; half-written by somebody else
        return None


def write_state(state: State) -> None:
    """Write the state of a run's log into the folder of the run."""
    path = path_of(state.described.directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**asdict(state), "described": {**asdict(state.described), "directory": str(state.described.directory.absolute())}})


def moved(state: State, directory: Path) -> State:
    """Return the state of a run whose folder is now at `directory`."""
    return replace(state, described=replace(state.described, directory=directory))
