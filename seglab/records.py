"""Names, folders and records of runs. No torch, so that reading results is fast.

A study's folder is `<root>/<study>/`. It holds `study.json` (the settings that all runs share, and the settings of each
arm) and one folder for each run, `<arm>/seed-<n>/`. In this folder `result.json` is written last, atomically: a run
without it is not done.

Both files carry `schema`, the version of their layout. Records of older schemas are read and compared; no run is added
to them.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, TypeVar

import msgspec

import seglab
from seglab.files import atomic_write

SCHEMA = 2
"""Version of the layout of `study.json` and `result.json`, and of the method that describes and hashes settings.

1: settings with the paths of files inside seglab, and its version (seglab 0.1). 2: public names, the user's code by its
text, `NUMERICS`.
"""

NUMERICS = 3
"""Version of the numbers: each release of seglab that changes the numbers of a run increases it. It is part of a run's
identity; the version of seglab is not.

1: seglab 0.1 and 0.2. 2: seglab 0.3; `OHEM` takes its k from the valid pixels, which changes the numbers where masks
hold ignored pixels. 3: `CrossEntropy` with class weights and label smoothing costs 0 where all pixels of a batch have
the weight 0.
"""


class Changed(NamedTuple):
    """A class whose numbers a version of the numbers changed."""

    name: str
    """Its public name."""
    only_with: tuple[str, ...] = ()
    """Settings without which the numbers stayed: where one of them is off, None or 0."""


CHANGED_BY: Mapping[int, tuple[Changed, ...]] = {
    2: (Changed("seglab.OHEM"),),
    3: (Changed("seglab.CrossEntropy", ("weight", "label_smoothing")),),
}
"""The classes whose numbers a version changed. A version that is not a key changed the numbers of all."""

TUNING = "tuning"
"""Name of the folder of a study's tuning runs, inside the study's folder. It is read like the folder of any study."""

IMAGE_SCORES = ("image_miou", "image_dice", "image_miou_worst10")
"""Names of the scores that are means over images. Results of earlier versions lack them."""
SETTING = "@"
"""Separator of arm and setting in the name of the arm of tuning runs, such as `l1@lr=1e-3`."""
SHIFT = "shift"
"""First part of the metrics of a shifted test set, such as `shift/noise-3/miou`."""

MEAN = "mean"
"""Name of the mean over the corruptions among the shifts. No shift has this name."""

CROSSING = "+"
"""Separator of the levels in the name of an arm of a factorial study."""

LETTERS = 128
"""Largest number of letters of a name or a group at W&B."""

ID_LETTERS = 103
"""Largest number of letters of an id. W&B names a table `run-<id>-testconfusion-123456`, in at most `LETTERS`."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@=,-]{0,127}")


def check_name(kind: str, name: str) -> str:
    """Return `name`; raise a ValueError with the allowed characters if it cannot be a folder on every file system."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"{kind} {name!r}: a name starts with a letter or digit and goes on with up to 127 letters, digits or any of . _ + @ = , -"
        )
    return name


def id_of(text: str) -> str:
    """Return a text as an id that W&B takes.

    >>> id_of("lr=0.1,l2+l1-report")
    'lr_0.1_l2_l1-report'
    """
    return shortened(re.sub("[+@=,]", "_", text), ID_LETTERS)


def shortened(text: str, letters: int = LETTERS) -> str:
    """Return a text with at most `letters` letters. A longer one ends with its hash, so that no two become equal."""
    return text if len(text) <= letters else f"{text[: letters - 9]}-{fingerprint(text)[:8]}"


def arm_of_tuning(arm: str, place: int) -> str:
    """Return the name of an arm in one of its repeated tunings, from 0 on; in the first it is the arm's own name.

    >>> arm_of_tuning("l2", 0), arm_of_tuning("l2", 1)
    ('l2', 'l2@2')
    """
    return arm if place == 0 else f"{arm}{SETTING}{place + 1}"


def arm_and_tuning(name: str, tunings: int) -> tuple[str, int]:
    """Return the arm and the tuning that `arm_of_tuning` has named, in a study with this number of tunings.

    >>> arm_and_tuning("l2@2", 3), arm_and_tuning("l2", 3), arm_and_tuning("l2@2", 1)
    (('l2', 1), ('l2', 0), ('l2@2', 0))
    """
    arm, found, number = name.rpartition(SETTING)
    return (arm, int(number) - 1) if tunings > 1 and found else (name, 0)


def shifted_seeds(seeds: Sequence[int], both_rounds: Sequence[int], place: int) -> tuple[int, ...]:
    """Return the seeds of a tuning, from 0 on, that stand for `seeds` of the first one. No two tunings share a seed.

    >>> shifted_seeds((1000, 1001), (1000, 1001, 1002), 1)
    (1003, 1004)

    Args:
        seeds: seeds of one round of the first tuning.
        both_rounds: seeds of both rounds of the first tuning.
        place: place of the tuning.
    """
    span = max(both_rounds) - min(both_rounds) + 1
    return tuple(seed + place * span for seed in seeds)


def levels_of(arm: str) -> tuple[str, ...]:
    """Return the levels that an arm of a factorial study crosses, in the order of the factors.

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
        """Name of the run in logs and in W&B."""
        return f"{self.study}/{self.arm}/s{self.seed}"

    def directory(self, folder: Path) -> Path:
        """Return the folder of the run, inside the study's `folder`."""
        return folder / self.arm / f"seed-{self.seed}"


@dataclass(frozen=True)
class Result:
    """Result of a finished run. Scores are in [0, 1]; an undefined score is NaN."""

    run: Run
    identity: str
    """Hash of all settings that determine the numbers, except the seed (see `fingerprint`)."""
    class_names: tuple[str, ...]
    val: Mapping[str, float]
    """`miou`, `dice`, `pixel_accuracy`, ... on the validation split."""
    test: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, tuple[float, ...]]]
    """One value for each class, by split and by score (`iou`, `dice`, `precision`, `recall`)."""
    cost: Mapping[str, float]
    """Costs: `seconds`, `training_seconds`, `peak_memory_mib`, `parameters`, `trainable_parameters`, `exact_zeros`.
    `seconds` covers training, validation and test, `training_seconds` all but the test. `exact_zeros` is the fraction
    of the weights that a penalty applies to, the same weights in every arm.
    """
    commit: str | None
    version: str
    train: Mapping[str, float] = field(default_factory=dict)
    """Scores as in `val`, on as many training images, without augmentation; empty if these were not evaluated."""
    shift: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Scores as in `test` on each shifted test set, by name, and their `mean` over corruptions (see `corruption_mean`).
    Scores of each class are in `per_class`, under `shift/<name>`. Empty for a study without shifts.
    """
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        for split, scores in self.per_class.items():
            for name, values in scores.items():
                if len(values) != len(self.class_names):
                    raise ValueError(f"{split}/{name} has {len(values)} values for {len(self.class_names)} classes")

    @property
    def gap(self) -> dict[str, float]:
        """Training score minus validation score, by name: a measure of overfitting."""
        return {name: value - self.val[name] for name, value in self.train.items() if name in self.val}

    @property
    def means(self) -> dict[str, Mapping[str, float]]:
        """Numbers of a whole split or run, by `train`, `val`, `gap`, `test`, `cost` and `shift/<name>`."""
        shifted = {f"{SHIFT}/{name}": scores for name, scores in self.shift.items()}
        return {"train": self.train, "val": self.val, "gap": self.gap, "test": self.test, "cost": self.cost, **shifted}

    @property
    def numbers(self) -> dict[str, float]:
        """All scores, gaps and costs, under the names that `score` takes."""
        return self._scores()

    def score(self, metric: str) -> float:
        """Return the value of `test/miou`, `gap/miou`, `test/iou/<class>` or `cost/<name>`.

        For any other metric, raise a ValueError that lists the existing metrics.
        """
        split, _, name = metric.partition("/")
        if (value := self.means.get(split, {}).get(name)) is not None:
            return value
        found = self._scores()
        if metric not in found:
            split, _, name = metric.partition("/")
            if name in IMAGE_SCORES and self.means.get(split):
                raise ValueError(
                    f"{self.run.name} has no {metric}: seglab {self.version} did not compute scores of single images. Compare another metric, "
                    "or train its study anew under another --name"
                )
            known = ", ".join(sorted(name for name in found if not name.startswith(f"{SHIFT}/")))
            shifts = ", ".join(f"{SHIFT}/{name}" for name in self.shift)  # each with the scores of the test split: too many to be listed
            more = f"; scores as those of test, under {shifts}" if shifts else ""
            raise ValueError(f"unknown metric {metric!r}: {self.run.name} has {known}{more}")
        return found[metric]

    def _scores(self) -> dict[str, float]:
        flat = {f"{split}/{name}": value for split, scores in self.means.items() for name, value in scores.items()}
        for split, scores in self.per_class.items():
            for name, values in scores.items():
                flat |= {f"{split}/{name}/{label}": value for label, value in zip(self.class_names, values, strict=True)}
        return flat


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


def corruption_mean(scores: Mapping[str, Mapping[str, float]], shifts: Mapping[str, Mapping[str, Any]]) -> dict[str, float] | None:
    """Return the mean of each score over the severities of each corruption, then over the corruptions.

    This is the mean performance under corruption (mPC) of Michaelis et al. (2019), arXiv:1907.07484. None without a
    corruption, or if one has no scores.

    Args:
        scores: scores by the name of the shift.
        shifts: settings of all shifts of the study, by name, as in `StudyRecord`.
    """
    kinds: dict[str, list[Mapping[str, float]]] = {}
    for name, settings in shifts.items():
        if settings.get("kind") is not None:
            if name not in scores:
                return None
            kinds.setdefault(str(settings["kind"]), []).append(scores[name])
    if not kinds:
        return None
    every = [score for score in next(iter(kinds.values()))[0] if all(score in one for found in kinds.values() for one in found)]
    return {score: fmean(fmean(one[score] for one in found) for found in kinds.values()) for score in every}


def settings_of(arm: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in an arm's record, without the values that are only displayed."""
    return {name: value for name, value in arm.items() if name != "display"}


def changed_since(numerics: object) -> tuple[Changed, ...] | None:
    """Return the classes whose numbers changed after `numerics`; None if all may have changed."""
    if not isinstance(numerics, int) or numerics > NUMERICS:
        return None
    since = range(numerics + 1, NUMERICS + 1)
    if not all(version in CHANGED_BY for version in since):
        return None
    return tuple(changed for version in since for changed in CHANGED_BY[version])


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


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write plain data or a dataclass as JSON, whole or not at all. NaN, which JSON does not know, becomes null."""
    write_text(path, msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")


def write_result(path: Path, result: Result) -> None:
    """Write `result.json`, which marks the run as done."""
    write_json(path, result)


def read_result(path: Path) -> Result:
    """Read one `result.json`.

    Raises:
        ValueError: the file cannot be read or is damaged; the message names the file, what is wrong and what to do.
    """
    raw = _read_object(path, _REPEAT)
    for name in ("val", "test", "train", "cost", "per_class", SHIFT):
        if name in raw:
            raw[name] = _nan_for_null(raw[name])
    return _converted(path, {"schema": 1, **raw}, Result, _REPEAT)


def started_runs(folder: Path, study: str) -> list[Run]:
    """Return the runs that have a folder in a study's folder, with or without a result, by the names of the folders.

    A folder whose name no arm can have holds no runs; `read_results` names it.
    """
    paths = [path for path in sorted(folder.glob("*/seed-*")) if path.is_dir() and _NAME.fullmatch(path.parent.name)]
    numbers = [(path.parent.name, path.name.removeprefix("seed-")) for path in paths]
    return list(dict.fromkeys(Run(study, arm, int(number)) for arm, number in numbers if number.isdecimal()))


def read_results(folder: Path) -> tuple[list[Result], list[str]]:
    """Return all readable results in a study's folder, ordered by arm and seed, and lines on what is left out.

    There is a line for each damaged result, and for each folder with runs whose name no arm can have.
    """
    strange = [path for path in sorted({seed.parent for seed in folder.glob("*/seed-*")}) if _NAME.fullmatch(path.name) is None]
    results, problems = [], [f"{path}: no arm can have this name; left out. Move the folder out of the study's folder" for path in strange]
    for path in sorted(folder.glob("*/seed-*/result.json")):
        if path.parents[1] in strange:
            continue
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


def has_diverged(directory: Path) -> bool:
    """Return whether the run in `directory` has failed because its loss or its weights became NaN or infinite."""
    try:
        return str(json.loads((directory / "failure.json").read_text())["error"]).startswith("NonFiniteLossError")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_record(folder: Path, record: StudyRecord) -> None:
    """Write `study.json`."""
    write_json(folder / "study.json", record)


def read_record(folder: Path) -> StudyRecord | None:
    """Read the record of a study's folder; None if there is no record.

    Raises:
        ValueError: the file cannot be read, is damaged, or was written by a newer seglab.
    """
    path = folder / "study.json"
    if not path.exists():
        return None
    raw = _read_object(path, _RESTORE)
    shared = raw.get("shared")
    version = shared.get("seglab", "") if isinstance(shared, dict) else ""  # schema 1 kept the version here
    return _converted(path, {"schema": 1, "version": version, **raw}, StudyRecord, _RESTORE)


_REPEAT = "Delete the file and `run` again to repeat this run"
_RESTORE = "Restore it, use the version of seglab that wrote it, or choose another folder with --name or --root"

T = TypeVar("T")


def _read_object(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON object. If the file is unreadable or damaged, raise a ValueError that names it and the reason."""
    try:
        raw = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged (not JSON: {error}). {remedy}") from None
    if not isinstance(raw, dict):
        raise ValueError(f"{path}: damaged (a {type(raw).__name__}, not an object). {remedy}")
    if isinstance(schema := raw.get("schema", 1), int) and schema > SCHEMA:
        raise ValueError(
            f"{path}: was written by seglab {raw.get('version')} (schema {schema}), and seglab {seglab.__version__} reads schemas up to "
            f"{SCHEMA}: update seglab"
        )
    return raw


def _converted(path: Path, raw: dict[str, Any], kind: type[T], remedy: str) -> T:
    """Convert plain data to a dataclass.

    If the data do not fit, raise a ValueError with the file, the field and the expected type.
    """
    try:
        return msgspec.convert(raw, kind)
    except (msgspec.ValidationError, OverflowError) as error:  # an integer that no float holds
        raise ValueError(f"{path}: damaged ({str(error).replace(' - at `$.', ' at `')}). {remedy}") from None


def _nan_for_null(value: object) -> object:
    """Replace null in scores by NaN. Writing replaces NaN by null, because JSON has no NaN."""
    if isinstance(value, dict):
        return {name: math.nan if item is None else _nan_for_null(item) for name, item in value.items()}
    return [math.nan if item is None else item for item in value] if isinstance(value, list) else value
