"""Read what the runs of a study have logged to W&B: the names for its panels, its arms and their colours."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seglab.compare import read_folder
from seglab.compare.plots.style import line_of
from seglab.dashboard.local import LocalLog, logs_below
from seglab.records import TUNING, StudyRecord, identity_of_entry, read_record
from seglab.transaction_log import Contents, Keys, read_contents

NEEDED = ("study", "arm", "seed", "phase")
"""Settings by which the panels choose and group runs."""


@dataclass(frozen=True)
class Logged:
    """A study's runs at W&B."""

    folder: Path
    record: StudyRecord
    entity: str
    """Empty for the default entity of the user."""
    project: str
    arms: tuple[str, ...]
    """In the order of report.html."""
    baseline_run: str
    """Id of the first run of the baseline."""
    runs: frozenset[str]
    """Ids of the study's own runs."""
    final: Keys
    tuning: Keys | None
    """None without tuning runs."""

    def chosen(self, phase: str) -> list[Any]:
        """Return the filters that choose the study's runs, and no runs of another study of the same name.

        Another study has other identities: it is in another folder, or was deleted and begun anew with other settings.
        """
        from wandb_workspaces.expr import Config

        keys = self.final if phase == "final" else self.tuning or Keys()
        logged = {json.loads(value) for value in keys.config.get("identity", ())} - {None}
        planned = {identity_of_entry(self.record, arm) for arm in self.record.arms} if phase == "final" else set()
        chosen = [Config("study") == self.record.study, Config("phase") == phase]
        return [*chosen, Config("identity").isin(sorted(logged | planned))] if logged else chosen

    @property
    def colours(self) -> dict[str, str]:
        """Return the colour of each arm, as in report.html. From the tenth arm on, colours repeat."""
        return {arm: line_of(place)[0] for place, arm in enumerate(self.arms)}


def read_logged(folder: Path) -> Logged:
    """Read what the runs of a study have logged, from their local logs.

    Raises:
        ValueError: the folder is no study's, its runs have no logs, or the logs are of seglab 0.3 or older.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; expected a study's folder, such as runs/regularization")
    record = read_record(folder)
    if record is None:
        raise ValueError(f"{folder}: holds no study.json; expected the folder of one study, such as runs/regularization")
    logs = logs_below(folder)
    tuning = [log for log in logs if log.path.is_relative_to(folder / TUNING)]
    final = [log for log in logs if log not in tuning]
    keys = _keys(final)
    if not final:
        raise ValueError(f"{folder}: no run has a log of Weights & Biases: either W&B was disabled, or `wandb clean` has deleted the logs")
    if not keys.config:
        raise ValueError(
            f"{folder}: no log of its runs can be read: all are damaged or empty; metrics.csv and result.json hold all numbers"
        )
    if lacking := [name for name in NEEDED if name not in keys.config]:
        raise ValueError(
            f"{folder}: its runs have no setting {lacking[0]!r} at W&B: they were logged by an older seglab, whose runs have no panels"
        )
    arms = tuple(dict.fromkeys(result.run.arm for result in read_folder(folder).results)) or record.arm_names
    readable = {log: contents for log in final if (contents := _contents(log)) is not None}
    places = Counter((contents.entity, contents.project) for contents in readable.values())
    (entity, project), _ = places.most_common(1)[0]
    first = next((log for log in readable if log.run.parent.name == record.baseline), next(iter(readable)))
    return Logged(
        folder,
        record,
        entity,
        project,
        arms,
        readable[first].run_id,
        frozenset(contents.run_id for contents in readable.values()),
        keys,
        _keys(tuning) if tuning else None,
    )


def _contents(log: LocalLog) -> Contents | None:
    """Return what can be read in a log; None if it is damaged."""
    try:
        return read_contents(log.path)
    except (ValueError, OSError):
        return None


def _keys(logs: list[LocalLog]) -> Keys:
    found = Keys()
    for log in logs:
        found.add(log.path)
    return found
