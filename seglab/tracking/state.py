"""State of a run's log at W&B, in the run's folder: `wandb/seglab.json`."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from seglab.records import write_json
from seglab.tracking.config import Described


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
