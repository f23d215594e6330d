"""Describe a run to its loggers: the name, the group, the tags and the flat configuration.

Every run has the same keys, each with one value or None, so that a table of runs has one column per key. All details
are under `settings`.
"""

import platform
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import seglab
from seglab.records import Run, StudyRecord, identity, levels_of
from seglab.wandb_names import id_of

Phase = Literal["final", "tuning", "fit", "test", "validate"]
"""Purpose of a run: a study's own run, a run that tries a setting, or a command of `seglab fit`."""

PROJECT = "seglab"
"""W&B project, unless WANDB_PROJECT names another."""

_TRANSPARENT = ("Relative", "Scheduled", "Proximal", "Decoupled")
"""Classes that change how a penalty acts. They are no part of its name."""

_JOB_TYPES: Mapping[Phase, str] = {"final": "train", "fit": "train", "tuning": "tuning", "test": "test", "validate": "validate"}


@dataclass(frozen=True)
class Described:
    """A run as its loggers show it."""

    name: str
    group: str
    phase: Phase
    config: Mapping[str, Any]
    """Flat configuration; see docs/howto/wandb.md for its keys."""
    directory: Path
    """Folder of the run, where loggers write."""
    id: str | None = None
    """Id at W&B, equal for equal runs; None for a run that nothing continues."""
    tags: tuple[str, ...] = ()

    @property
    def job_type(self) -> str:
        """Type of the run at W&B."""
        return _JOB_TYPES[self.phase]

    @property
    def notes(self) -> str:
        """Command and folder of the run."""
        return f"{self.config['command']}\n{self.config['folder']}"


@dataclass(frozen=True)
class Circumstances:
    """Facts about a run that its study's record does not hold."""

    directory: Path
    command: Sequence[str]
    """Words of the command line that repeats the run."""
    steps: int
    """Planned number of optimizer steps."""
    weights: str | None = None
    """Origin of the initial weights."""
    tuning: bool = False


def described(record: StudyRecord, run: Run, at: Circumstances) -> Described:
    """Return the description of a run of a study.

    Args:
        record: the record of the study, or of its tuning.
        run: the run.
        at: what the record does not say.
    """
    arm, settings = run.arm, record.arms[record.entry(run)]
    study, setting = record.study, settings.get("tuning", {}).get("chosen")
    baseline = record.baseline
    if at.tuning:
        study, (arm, _, setting) = study.removesuffix("-tuning"), arm.rpartition("@")
        baseline = baseline.rpartition("@")[0]
    phase: Phase = "tuning" if at.tuning else "final"
    found = {
        "study": study,
        "arm": arm,
        "seed": run.seed,
        "phase": phase,
        "baseline": arm == baseline,
        "identity": identity(record, run),
        "setting": setting,
        **facts(record.shared, settings),
        "epochs": record.shared.get("epochs"),
        "precision": record.shared.get("precision"),
        "weights": at.weights,
        "steps": at.steps,
        **_levels(record, arm),
        **_details(settings, at.directory, shlex.join(at.command)),
        "settings": {"shared": record.shared, "arm": settings},
    }
    return Described(run.name, f"{run.study}/{arm}", phase, found, at.directory, wandb_id(run, found["identity"]), (study, arm, phase))


def described_fit(verb: Phase, settings: Mapping[str, Any], folder: Path, command: Sequence[str]) -> Described:
    """Return the description of a command of `seglab fit`, which belongs to no study.

    Args:
        verb: the command.
        settings: all settings of the training; empty for an evaluation.
        folder: the folder of the command.
        command: the words of the command line.
    """
    steps, per_epoch = settings.get("steps"), settings.get("steps_per_epoch")
    found = {
        **dict.fromkeys(("study", "arm", "setting", "identity", "weights")),
        "seed": settings.get("seed"),
        "phase": verb,
        "baseline": False,
        **facts(settings, settings),
        "epochs": -(-steps // per_epoch) if steps and per_epoch else None,
        "precision": settings.get("trainer", {}).get("precision"),
        "steps": steps,
        **_details(settings, folder, shlex.join(command)),
        "settings": dict(settings),
    }
    return Described(f"{verb}/{folder.name}", verb, verb, found, folder, tags=(verb,))


def facts(shared: Mapping[str, Any], arm: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run that are worth a column, as one value each; None where a setting does not apply.

    Args:
        shared: settings with the data.
        arm: settings with network, loss, regularizer, schedules and optimizer.
    """
    data, network, optimizer = shared.get("data") or {}, arm.get("network") or {}, arm.get("optimizer") or {}
    return {
        **penalty(arm.get("regularizer")),
        "schedule": _schedule((arm.get("freeze") or {}).get("schedule")),
        "loss": _joined(arm.get("loss"), "losses"),
        "lr": optimizer.get("lr"),
        "optimizer": _class(optimizer),
        "scheduler": _class(arm.get("scheduler")),
        "architecture": _class(network),
        "encoder": (network.get("config") or {}).get("encoder_name"),
        "dataset": _class(data.get("source")),
        "train_fraction": data.get("train_fraction"),
        "batch_size": data.get("batch_size"),
    }


def penalty(regularizer: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return name, kind, strength and ratio of a penalty.

    >>> penalty({"class": "seglab.Proximal", "inner": {"class": "seglab.L1", "strength": 0.1}})
    {'penalty': 'l1', 'penalty_how': 'proximal', 'strength': 0.1, 'ratio': None}
    """
    chain = []
    while isinstance(regularizer, Mapping):
        chain.append(regularizer)
        regularizer = regularizer.get("inner")
    names = [_class(part) or "" for part in chain]
    how = "proximal" if "Proximal" in names else "decoupled" if "Decoupled" in names else "gradient" if chain else None
    shown = [*(name for name in names[:-1] if name not in _TRANSPARENT), *names[-1:]]
    return {
        "penalty": "-".join(map(_kebab, shown)) or "none",
        "penalty_how": how,
        "strength": chain[-1].get("strength") if chain else None,
        "ratio": next((part["ratio"] for part in chain if "ratio" in part), None),
    }


def wandb_id(run: Run, identity: str) -> str:
    """Return the W&B id of a run.

    It is equal for equal runs, so that a repeated or requeued run continues its curve.
    """
    return id_of(f"{run.study}-{run.arm}-s{run.seed}-{identity[:8]}")


def _levels(record: StudyRecord, arm: str) -> dict[str, str]:
    """Return the level of each factor of a factorial study."""
    return dict(zip(record.factors, levels_of(arm), strict=True)) if record.factors else {}


def _details(settings: Mapping[str, Any], folder: Path, command: str) -> dict[str, Any]:
    phases = settings.get("display", {}).get("phases", ())
    return {
        "phases": "; ".join(f"epochs {phase['epochs']}: {phase['trains']}" for phase in phases) or None,
        "command": command,
        "folder": str(folder.absolute()),
        "host": platform.node(),
        "versions": f"seglab {seglab.__version__}, Python {platform.python_version()}",
    }


def _schedule(schedule: Mapping[str, Any] | None) -> str:
    """Return the names of the classes of a freezing schedule, without its warm-up; `full` without a schedule."""
    if not isinstance(schedule, Mapping):
        return "full"
    if isinstance(members := schedule.get("schedules"), list):
        return "*".join(map(_schedule, members))
    inner = schedule.get("schedule")
    return _schedule(inner) if isinstance(inner, Mapping) else _class(schedule) or "full"


def _joined(value: object, members: str) -> str | None:
    """Return the class of a value; for a value with members, the classes of these."""
    if isinstance(value, Mapping) and isinstance(parts := value.get(members), Mapping):
        return "+".join(str(_class(part)) for name, part in parts.items() if name != "class")
    return _class(value)


def _class(value: object) -> str | None:
    """Return the name of the class of a described object, without its module."""
    name = value.get("class") if isinstance(value, Mapping) else value
    return name.rpartition(".")[2] if isinstance(name, str) else None


def _kebab(name: str) -> str:
    return re.sub("(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
