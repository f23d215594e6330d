"""Content of a stand-in W&B server: runs, their rows and files, artifacts, and views (workspaces and reports)."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ServedRun:
    """One run, as the server has it."""

    id: str
    entity: str
    project: str
    name: str = ""
    """Its displayed name."""
    group: str | None = None
    job_type: str | None = None
    sweep: str | None = None
    """The id of the sweep that it belongs to."""
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    raw_config: dict[str, Any] = field(default_factory=dict)
    """As it was sent: `{"lr": {"value": 0.1}, "_wandb": {"value": …}}`."""
    summary: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Rows by the offset at which the client put them. A row that is sent twice at one offset is one row."""
    events: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Rows of the machine's own metrics."""
    console: dict[int, str] = field(default_factory=dict)
    exit_code: int | None = None
    """None until the client says that the run is complete."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Uploaded files by name, such as `media/images/test/predictions_1_ab12.png`."""
    starts: int = 0
    """Number of times that a client has opened the run."""

    @property
    def config(self) -> dict[str, Any]:
        """Return the settings by key, as W&B shows them."""
        return {key: item["value"] for key, item in self.raw_config.items() if key != "_wandb"}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the history in order, with W&B's own keys `_step`, `_runtime` and `_timestamp`."""
        return [row for _, row in sorted(self.history.items())]

    @property
    def keys(self) -> set[str]:
        """Return the names of everything that a row of the history or the summary holds, without W&B's own."""
        return {key for row in (*self.rows, self.summary) for key in row if not key.startswith("_")}

    def table(self, key: str) -> tuple[list[str], list[list[Any]]]:
        """Return the columns and rows of a `wandb.Table` logged under `key`, the last one if there are several."""
        path = self.summary[key]["path"]
        table = json.loads(self.files[path])
        return table["columns"], table["data"]


@dataclass
class ServedArtifact:
    """One version of an artifact, as the server has it."""

    id: str
    project: str
    run: str
    """The id of the run that logged it."""
    name: str
    kind: str
    """Its type, such as `model`."""
    digest: str
    aliases: list[str]
    metadata: dict[str, Any]
    manifest: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    committed: bool = False


@dataclass
class ServedSweep:
    """A sweep, as the server has it."""

    config: str
    """Its file, as YAML."""
    settings: list[dict[str, Any]]
    """Settings of the runs that no agent has got yet."""


@dataclass
class ServedView:
    """A saved workspace (`project-view`) or a report (`runs`, or `runs/draft`)."""

    id: str
    kind: str
    entity: str
    project: str
    name: str
    title: str
    description: str
    spec: dict[str, Any]
    saves: int = 1
    """Number of times that it was saved."""
