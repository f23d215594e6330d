"""Read and write `study.json` and `result.json`."""

import json
import math
from pathlib import Path
from typing import Any, TypeVar

import msgspec

import seglab
from seglab.files import atomic_write
from seglab.records.names import _NAME, SHIFT, Run
from seglab.records.result import Result
from seglab.records.study import StudyRecord
from seglab.records.version import SCHEMA

_REPEAT = "Delete the file and `run` again to repeat this run"

_RESTORE = "Restore it, use the version of seglab that wrote it, or choose another folder with --name or --root"

T = TypeVar("T")


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


def started_runs(folder: Path, study: str) -> list[Run]:
    """Return the runs that have a folder in a study's folder, with or without a result, by the names of the folders.

    A folder whose name no arm can have holds no runs; `read_results` names it.
    """
    paths = [path for path in sorted(folder.glob("*/seed-*")) if path.is_dir() and _NAME.fullmatch(path.parent.name)]
    numbers = [(path.parent.name, path.name.removeprefix("seed-")) for path in paths]
    return list(dict.fromkeys(Run(study, arm, int(number)) for arm, number in numbers if number.isdecimal()))


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
