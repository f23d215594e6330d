"""Record of a study: the settings of all runs of a folder, and the declared analysis."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import seglab
from seglab.records.names import Run, arm_and_tuning, arm_of_tuning
from seglab.records.version import SCHEMA


@dataclass(frozen=True)
class AcceptedEdit:
    """An edit of the user's code that a user has declared to change no number, so that the study can continue."""

    name: str
    """Public name of the edited definition, such as `my_losses.MyLoss`."""
    recorded: str | None
    """Hash of the definition's source in the study's record; None if the record does not contain the definition."""
    now: str | None
    """Hash of the definition's source after the edit; None if the edit removed the definition."""
    why: str
    """Reason that the user gave."""


@dataclass(frozen=True)
class Analysis:
    """Declared analysis of a study: what is tested, on which arms and seeds.

    It is recorded before the first result, and is not part of a run's identity.
    """

    baseline: str
    metric: str
    margin: float | None
    """Largest difference that does not matter, in raw units of the metric; None if no arm can be called equivalent."""
    alpha: float
    arms: tuple[str, ...]
    """Names of all arms, the baseline among them."""
    seeds: tuple[int, ...]
    """Seeds on which the verdicts rest, in the order of the runs; empty if they were not declared."""
    looks: tuple[int, ...] = ()
    """Numbers of seeds after which verdicts are given before all seeds are done, in increasing order."""
    always_valid: bool = False
    """True if the tests hold after any number of seeds."""
    added_seeds: tuple[int, ...] = ()
    """Seeds that an amendment has added after the first result. They are exploratory."""
    dropped_arms: tuple[str, ...] = ()
    """Arms that an amendment has dropped after the first result. They still count in the number of tests."""
    tunings: int = 1
    """Number of independent tunings of each arm. With more than one, the means over the seeds of each tuning are the
    pairs of all tests.
    """

    def __post_init__(self) -> None:
        for what, values in (("arms", self.arms), ("seeds", self.seeds)):
            if len(set(values)) < len(values):
                raise ValueError(f"{what} {', '.join(map(str, values))}: one is there twice, and would count twice")

    @property
    def tests(self) -> int:
        """Number of tests that a p is adjusted for: one for each arm that was ever declared, except the baseline."""
        return len({*self.arms, *self.dropped_arms}) - 1

    @property
    def pairs(self) -> int:
        """Number of pairs of a test when all seeds are done: the seeds, or the tunings if there are several."""
        return self.tunings if self.tunings > 1 else len(self.seeds)


@dataclass(frozen=True)
class Amendment:
    """A change of the declared analysis after the first result."""

    time: str
    """Local time with its offset from UTC, in the format of ISO 8601."""
    why: str
    """Reason that the user gave."""
    before: Analysis
    after: Analysis
    finished: int
    """Number of finished runs at that time."""


@dataclass(frozen=True)
class StudyRecord:
    """Content of `study.json`: the settings of all runs of a folder. A folder never mixes two settings."""

    study: str
    baseline: str
    metric: str
    shared: Mapping[str, Any]
    """Settings that are equal for every arm: data, epochs, batch size, precision, numerics."""
    arms: Mapping[str, Mapping[str, Any]]
    """Network, loss, regularizer, schedule, optimizer and code of each arm. Values under `display` are shown only, and
    are not settings. If the tuning is repeated, each tuning of an arm is an entry, by the name of `arm_of_tuning`.
    """
    factors: tuple[str, ...] = ()
    """Names of the factors that the arms cross, in the order of the levels in an arm's name. They are not part of a
    run's identity.
    """
    accepted: tuple[AcceptedEdit, ...] = ()
    """Accepted edits of the user's code since the record was written. They are not part of a run's identity."""
    shifts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings of each shift in the tests, by name; `kind` is the class of a corruption, None for another domain. They
    are not part of a run's identity, because they change no training.
    """
    version: str = ""
    """Version of seglab that created the record."""
    schema: int = SCHEMA
    analysis: Analysis | None = None
    """Declared analysis; None for tuning runs, and for a study that seglab 0.3 or an older version has recorded."""
    amendments: tuple[Amendment, ...] = ()
    """Changes of `analysis` after the first result, oldest first."""

    @property
    def tunings(self) -> int:
        """Number of independent tunings of each arm."""
        tuning = self.shared.get("tuning")
        return int(tuning.get("tunings", 1)) if isinstance(tuning, Mapping) else 1

    def entry(self, run: Run) -> str:
        """Return the name of the entry of `arms` with the settings of a run."""
        return arm_of_tuning(run.arm, run.seed % self.tunings)

    @property
    def arm_names(self) -> tuple[str, ...]:
        """Names of the arms, each once, however often it was tuned."""
        return tuple(dict.fromkeys(arm_and_tuning(name, self.tunings)[0] for name in self.arms))


def fingerprint(description: object) -> str:
    """Return a short hash of plain data (dicts, lists, strings, numbers), independent of the order of keys."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]


def identity(record: StudyRecord, run: Run) -> str:
    """Return the hash of a run's settings: the settings that all runs share, and the settings of the run's arm."""
    return identity_of_entry(record, record.entry(run))


def identity_of_entry(record: StudyRecord, entry: str) -> str:
    """Return the identity of the runs of an entry of the record's arms."""
    return fingerprint({"shared": record.shared, "arm": settings_of(record.arms[entry])})


def settings_of(arm: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in an arm's record, without the values that are only displayed."""
    return {name: value for name, value in arm.items() if name != "display"}


def alike(arms: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the groups of two or more arms whose records hold the same settings, whatever these were chosen among.

    >>> alike({"a": {"lr": 0.1}, "b": {"lr": 0.2}, "c": {"lr": 0.1, "display": {}}})
    [('a', 'c')]
    """
    groups: dict[str, list[str]] = {}
    for name, described in arms.items():
        settings = {key: value for key, value in settings_of(described).items() if key != "tuning"}
        if settings:  # else nothing is recorded that could differ
            groups.setdefault(fingerprint(settings), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def check_schema(folder: Path, record: StudyRecord) -> None:
    """Raise a ValueError if another version of seglab has recorded the folder with another schema.

    Such a folder accepts no runs.
    """
    if record.schema != SCHEMA:
        raise ValueError(
            f"{folder}: was recorded by seglab {record.version} (schema {record.schema}), and seglab {seglab.__version__} (schema {SCHEMA}) "
            f"describes runs in another way: go on with it with seglab {record.version}, or choose another folder with --name or --root; "
            "`compare` and `status` read it as it is"
        )
