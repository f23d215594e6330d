"""What a run is called, where it lives and what it leaves behind. No torch here: reading results must cost nothing.

A study's folder is `<root>/<study>/`. It holds `study.json` (the settings that all its runs share, and each arm's own)
and one folder per run, `<arm>/seed-<n>/`, in which `result.json` is written last and whole: a run without it is not done.
"""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seglab.files import atomic_write

TUNING = "tuning"
"""The folder of a study's tuning runs, inside the study's own; to those who read it, a study like any other."""

CROSSING = "+"
"""Stands between the levels that an arm of a factorial study crosses."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@=,-]{0,127}")


def check_name(kind: str, name: str) -> str:
    """`name` itself, if it can be a folder on every file system; else a ValueError that says what is allowed."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"{kind} {name!r}: a name starts with a letter or digit and goes on with up to 127 letters, digits or any of . _ + @ = , -"
        )
    return name


def levels_of(arm: str) -> tuple[str, ...]:
    """The levels that an arm of a factorial study crosses, in the order of its factors.

    >>> levels_of("l2+frozen")
    ('l2', 'frozen')
    """
    return tuple(arm.split(CROSSING))


@dataclass(frozen=True, order=True)
class Run:
    """One training: an arm of a study under one seed."""

    study: str
    arm: str
    seed: int

    def __post_init__(self) -> None:
        check_name("study", self.study)
        check_name("arm", self.arm)
        if self.seed < 0:
            raise ValueError(f"seed {self.seed}: seeds are 0 or more")

    @property
    def name(self) -> str:
        """What people call it, in logs and in W&B."""
        return f"{self.study}/{self.arm}/s{self.seed}"

    def directory(self, folder: Path) -> Path:
        """The run's own folder inside its study's `folder`."""
        return folder / self.arm / f"seed-{self.seed}"


@dataclass(frozen=True)
class Result:
    """What one finished run found. Scores are in [0, 1]; NaN where one is undefined."""

    run: Run
    identity: str
    """Hash of everything that determines the numbers, the seed aside (see `fingerprint`)."""
    class_names: tuple[str, ...]
    val: Mapping[str, float]
    """`miou`, `dice`, `pixel_accuracy`, ... on the validation split."""
    test: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, tuple[float, ...]]]
    """Split, then score (`iou`, `dice`, `precision`, `recall`), then one value per class."""
    cost: Mapping[str, float]
    """`seconds` (training, validation and test), `training_seconds` (without the test), `peak_memory_mib`, `parameters`, `trainable_parameters`, `exact_zeros`
    (fraction of the weights that a penalty applies to, the same weights in every arm)."""
    commit: str | None
    version: str
    train: Mapping[str, float] = field(default_factory=dict)
    """As `val`, on as many training images, without augmentation; empty where they were not evaluated."""

    def __post_init__(self) -> None:
        for split, scores in self.per_class.items():
            for name, values in scores.items():
                if len(values) != len(self.class_names):
                    raise ValueError(f"{split}/{name} has {len(values)} values for {len(self.class_names)} classes")

    @property
    def gap(self) -> dict[str, float]:
        """Training score minus validation score: how far the network has fitted its own images beyond new ones."""
        return {name: value - self.val[name] for name, value in self.train.items() if name in self.val}

    @property
    def means(self) -> dict[str, Mapping[str, float]]:
        """The numbers of a whole split or run: `train`, `val`, `gap`, `test` and `cost`."""
        return {"train": self.train, "val": self.val, "gap": self.gap, "test": self.test, "cost": self.cost}

    def score(self, metric: str) -> float:
        """The value of `test/miou`, `gap/miou`, `test/iou/<class>` or `cost/<name>`; a ValueError lists what there is."""
        found = self._scores()
        if metric not in found:
            raise ValueError(f"unknown metric {metric!r}: {self.run.name} has {', '.join(sorted(found))}")
        return found[metric]

    def _scores(self) -> dict[str, float]:
        flat = {f"{split}/{name}": value for split, scores in self.means.items() for name, value in scores.items()}
        for split, scores in self.per_class.items():
            for name, values in scores.items():
                flat |= {f"{split}/{name}/{label}": value for label, value in zip(self.class_names, values, strict=True)}
        return flat


@dataclass(frozen=True)
class StudyRecord:
    """`study.json`: what all runs of a folder share. A folder never mixes two settings."""

    study: str
    baseline: str
    metric: str
    shared: Mapping[str, Any]
    """Data, epochs, batch size, precision, versions: equal for every arm."""
    arms: Mapping[str, Mapping[str, Any]]
    """Network, loss, regularizer, schedule, optimizer of each arm."""
    factors: tuple[str, ...] = ()
    """What the arms cross, in the order in which their names do. How arms are read, so it is no part of a run's identity."""


def fingerprint(description: object) -> str:
    """A short hash of plain data (dicts, lists, strings, numbers), independent of the order of keys."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]


def identity(record: StudyRecord, run: Run) -> str:
    """The hash that a run's result carries: of the settings that all runs share, and of its arm's own."""
    return fingerprint({"shared": record.shared, "arm": record.arms[run.arm]})


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write plain data as JSON, whole or not at all. NaN, which JSON does not know, becomes null."""
    write_text(path, json.dumps(_null_for_nan(value), indent=1) + "\n")


def write_result(path: Path, result: Result) -> None:
    """Write `result.json`; after this the run is done."""
    write_json(path, dataclasses.asdict(result))


def read_result(path: Path) -> Result:
    """Read one `result.json`; a ValueError names the file and what is wrong with it."""
    raw = _read_object(path, _REPEAT)
    try:
        return Result(
            run=Run(study=_text(raw["run"]["study"]), arm=_text(raw["run"]["arm"]), seed=_integer(raw["run"]["seed"])),
            identity=_text(raw["identity"]),
            class_names=tuple(_text(name) for name in _items(raw["class_names"])),
            val=_numbers(raw["val"]),
            test=_numbers(raw["test"]),
            per_class={
                split: {name: tuple(map(_number, _items(values))) for name, values in scores.items()}
                for split, scores in raw["per_class"].items()
            },
            cost=_numbers(raw["cost"]),
            commit=None if raw["commit"] is None else _text(raw["commit"]),
            version=_text(raw["version"]),
            train=_numbers(raw.get("train", {})),  # results were written before there was any
        )
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise _damaged(path, error, _REPEAT) from None


def read_results(folder: Path) -> tuple[list[Result], list[str]]:
    """Every readable result of a study's folder, ordered by arm and seed, and one line for each that is damaged."""
    results, problems = [], []
    for path in sorted(folder.glob("*/seed-*/result.json")):
        try:
            result = read_result(path)
            if path.parent != result.run.directory(folder):
                raise ValueError(
                    f"{path}: is the result of arm {result.run.arm!r}, seed {result.run.seed}, and does not belong into this folder"
                )
            results.append(result)
        except ValueError as error:
            problems.append(str(error))
    return sorted(results, key=lambda result: result.run), problems


def write_record(folder: Path, record: StudyRecord) -> None:
    """Write `study.json`."""
    write_json(folder / "study.json", dataclasses.asdict(record))


def read_record(folder: Path) -> StudyRecord | None:
    """The record of a study's folder; None where there is none yet, ValueError where it is damaged."""
    path = folder / "study.json"
    if not path.exists():
        return None
    raw = _read_object(path, _RESTORE)
    try:
        return StudyRecord(
            study=_text(raw["study"]),
            baseline=_text(raw["baseline"]),
            metric=_text(raw["metric"]),
            shared=dict(raw["shared"]),
            arms={arm: dict(settings) for arm, settings in dict(raw["arms"]).items()},
            factors=tuple(_text(factor) for factor in _items(raw.get("factors", []))),  # records were written before there were any
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error, _RESTORE) from None


_REPEAT = "Delete the file and `run` again to repeat this run"
_RESTORE = "Restore it, use the version of seglab that wrote it, or choose another folder with --name or --root"


def _damaged(path: Path, error: Exception, remedy: str) -> ValueError:
    what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
    return ValueError(f"{path}: damaged ({what}). {remedy}")


def _read_object(path: Path, remedy: str) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged (not JSON: {error}). {remedy}") from None
    if not isinstance(raw, dict):
        raise ValueError(f"{path}: damaged (a {type(raw).__name__}, not an object). {remedy}")
    return raw


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _items(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not an integer")
    return value


def _number(value: object) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _numbers(raw: Mapping[str, object]) -> dict[str, float]:
    return {_text(name): _number(value) for name, value in raw.items()}


def _null_for_nan(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _null_for_nan(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_null_for_nan(item) for item in value]
    return value
