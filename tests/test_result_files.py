"""Results and records on disk: whole or not at all, the same when read back, and every damage named."""

import dataclasses
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seglab.records import (
    SCHEMA,
    AcceptedEdit,
    Result,
    Run,
    StudyRecord,
    check_name,
    check_schema,
    fingerprint,
    identity,
    read_record,
    read_result,
    read_results,
    write_record,
    write_result,
    write_text,
)

SCORES = st.one_of(st.floats(0, 1), st.just(math.nan))
NAMED = st.dictionaries(st.text(max_size=9), SCORES, max_size=4)
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+@=,-]{0,20}", fullmatch=True)


@st.composite
def results(draw: st.DrawFn) -> Result:
    classes = tuple(draw(st.lists(st.text(max_size=9), max_size=4)))
    per_class = st.dictionaries(st.text(max_size=9), st.tuples(*[SCORES] * len(classes)), max_size=3)
    return Result(
        run=Run(draw(NAME), draw(NAME), draw(st.integers(0, 2**40))),
        identity=draw(st.text(max_size=9)),
        class_names=classes,
        val=draw(NAMED),
        test=draw(NAMED),
        train=draw(NAMED),
        shift=draw(st.dictionaries(NAME, NAMED, max_size=2)),
        per_class=draw(st.dictionaries(st.sampled_from(["val", "test"]), per_class)),
        cost=draw(st.dictionaries(st.text(max_size=9), st.floats(0, 1e12), max_size=3)),
        commit=draw(st.none() | st.text(max_size=9)),
        version=draw(st.text(max_size=9)),
    )


def comparable(value: object) -> object:
    """The same with NaN, which differs from itself, as a word."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    return [comparable(item) for item in value] if isinstance(value, list | tuple) else value


@given(results())
@settings(max_examples=60, deadline=None)
def test_a_result_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, result: Result) -> None:
    path = tmp_path_factory.mktemp("drawn") / "result.json"
    write_result(path, result)
    assert comparable(dataclasses.asdict(read_result(path))) == comparable(dataclasses.asdict(result))
    json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def example(**changes: Any) -> Result:
    plain = Result(
        run=Run("study", "l2", 3),
        identity="abc",
        class_names=("road", "car"),
        val={"miou": 0.5},
        test={"miou": 0.25, "dice": math.nan},
        per_class={"test": {"iou": (0.5, math.nan)}},
        cost={"seconds": 2.0},
        commit=None,
        version="0.1.0",
    )
    return dataclasses.replace(plain, **changes)


def without(*keys: str) -> Callable[[dict[str, Any]], None]:
    def damage(raw: dict[str, Any]) -> None:
        for key in keys[:-1]:
            raw = raw[key]
        del raw[keys[-1]]

    return damage


def replaced(value: object, *keys: str) -> Callable[[dict[str, Any]], None]:
    def damage(raw: dict[str, Any]) -> None:
        for key in keys[:-1]:
            raw = raw[key]
        raw[keys[-1]] = value

    return damage


def test_a_result_without_training_scores_has_no_gap(tmp_path: Path) -> None:
    """Read a result as those were that were written before there were any."""
    path = tmp_path / "result.json"
    write_result(path, example())
    raw = json.loads(path.read_text())
    without("train")(raw)
    path.write_text(json.dumps(raw))
    assert read_result(path).train == read_result(path).gap == {}


def test_a_gap_is_training_minus_validation() -> None:
    both = dataclasses.replace(example(), train={"miou": 0.75, "dice": 0.8}, val={"miou": 0.5})
    assert both.gap == {"miou": 0.25}
    assert both.score("gap/miou") == 0.25
    assert both.score("train/dice") == 0.8


@pytest.mark.parametrize(
    "damage",
    [
        *(without(field.name) for field in dataclasses.fields(Result) if field.name not in ("train", "shift", "schema")),
        replaced("high", "train", "miou"),
        replaced(None, "train"),
        replaced({"noise-3": {"miou": "high"}}, "shift"),
        replaced({"noise-3": 0.5}, "shift"),
        replaced(None, "shift"),
        without("run", "seed"),
        replaced("three", "run", "seed"),
        replaced(True, "run", "seed"),
        replaced(-1, "run", "seed"),
        replaced("../elsewhere", "run", "arm"),
        replaced(None, "run"),
        replaced(7, "identity"),
        replaced("ab", "class_names"),
        replaced([1, 2], "class_names"),
        replaced(["road"], "class_names"),
        replaced(["road", "car", "tree"], "class_names"),
        replaced(["road", "car"], "val"),
        replaced("high", "val", "miou"),
        replaced(True, "test", "miou"),
        replaced(10**400, "test", "miou"),
        replaced([0.5], "per_class", "test", "iou"),
        replaced(0.5, "per_class", "test", "iou"),
        replaced({"0": 0.5, "1": 0.5}, "per_class", "test", "iou"),
        replaced(["0.5", "0.5"], "per_class", "test", "iou"),
        replaced([], "per_class"),
        replaced(None, "cost"),
        replaced(3, "commit"),
        replaced(None, "version"),
    ],
)
def test_damage_in_a_result_names_the_file_and_the_remedy(tmp_path: Path, damage: Callable[[dict[str, Any]], None]) -> None:
    path = tmp_path / "result.json"
    write_result(path, example())
    assert read_result(path).class_names == ("road", "car")
    raw = json.loads(path.read_text())
    damage(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(ValueError, match="damaged") as raised:
        read_result(path)
    assert str(raised.value).startswith(f"{path}: damaged (")
    assert str(raised.value).endswith("Delete the file and `run` again to repeat this run")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"3", b'"text"', b"\xff\xfe", b"<html>", b"[" * 100_000])
def test_what_is_no_object(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged") as raised:
        read_result(path)
    assert str(raised.value).startswith(f"{path}: damaged (")


def test_every_truncation_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_result(path, example())
    whole = path.read_text().rstrip()
    for length in range(len(whole)):
        path.write_text(whole[:length])
        with pytest.raises(ValueError, match="damaged"):
            read_result(path)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "result.json").mkdir()
    with pytest.raises(ValueError, match=r"result\.json: cannot be read"):
        read_result(tmp_path / "result.json")


@pytest.mark.parametrize("values", [(), (0.5,), (0.5, 0.5, 0.5)])
def test_a_result_has_a_score_for_each_class(values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=f"test/iou has {len(values)} values for 2 classes"):
        example(per_class={"test": {"iou": values}})


def test_scores_by_name() -> None:
    result = example()
    assert [result.score(name) for name in ("val/miou", "test/miou", "test/iou/road", "cost/seconds")] == [0.5, 0.25, 0.5, 2.0]
    assert math.isnan(result.score("test/iou/car"))
    with pytest.raises(ValueError, match=r"unknown metric 'test/iou/tree': study/l2/s3 has cost/seconds, test/dice, test/iou/car"):
        result.score("test/iou/tree")
    shifted = example(shift={"noise-3": {"miou": 0.2}, "mean": {"miou": 0.2}})
    with pytest.raises(
        ValueError, match=r"unknown metric 'shift/noise-4/miou': .*, val/miou; scores as .* under shift/noise-3, shift/mean$"
    ):
        shifted.score("shift/noise-4/miou")


def test_a_folder_gives_what_is_whole_and_names_what_is_not(tmp_path: Path) -> None:
    for arm, seed in (("l2", 10), ("l2", 9), ("l1", 0), ("none", 0)):
        run = Run("study", arm, seed)
        run.directory(tmp_path).mkdir(parents=True)
        write_result(run.directory(tmp_path) / "result.json", example(run=run))
    (tmp_path / "none" / "seed-0" / "result.json").write_text("{")
    stray = tmp_path / "l1" / "seed-7"
    stray.mkdir()
    write_result(stray / "result.json", example(run=Run("study", "l1", 8)))
    found, problems = read_results(tmp_path)
    assert [(result.run.arm, result.run.seed) for result in found] == [("l1", 0), ("l2", 9), ("l2", 10)]
    assert [problem.partition(":")[0] for problem in problems] == [
        str(stray / "result.json"),
        str(tmp_path / "none" / "seed-0" / "result.json"),
    ]
    assert "seed 8" in problems[0]


def failing(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "study.json"
    write_text(path, "before")
    with monkeypatch.context() as patched:
        if call == "fsync":
            patched.setattr(os, "fsync", failing)
        else:
            patched.setattr(Path, "replace", failing)
        with pytest.raises(OSError, match="No space left"):
            write_text(path, "after")
        with pytest.raises(OSError, match="No space left"):
            write_text(tmp_path / "new.json", "after")
    assert [file.name for file in tmp_path.iterdir()] == ["study.json"]
    assert path.read_text() == "before"
    write_text(path, "after")
    assert path.read_text() == "after"


def test_the_file_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment when all is on the disk, the target is still the old one."""
    path, seen, fsync = tmp_path / "a.json", [], os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        seen.append((path.read_text(), os.fstat(descriptor).st_size))

    write_text(path, "before")
    monkeypatch.setattr(os, "fsync", watched)
    write_text(path, "é" * 10_000)
    assert seen == [("before", 20_000)]


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "a\n", "-rf", "a:b", "é", "a*", "~", "a" * 129, "a\0"])
def test_names_that_cannot_be_folders_are_refused(name: str) -> None:
    for make in (lambda: check_name("arm", name), lambda: Run("study", name, 0), lambda: Run(name, "arm", 0)):
        with pytest.raises(ValueError, match=r"(arm|study) .*a name starts with a letter or digit"):
            make()


@given(NAME)
@settings(max_examples=50, deadline=None)
def test_names_that_can(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    root = tmp_path_factory.mktemp("names")
    directory = Run(name, name, 0).directory(root)
    directory.mkdir(parents=True)
    assert directory.parent.parent == root


def test_seeds_are_not_negative() -> None:
    with pytest.raises(ValueError, match="seed -1: seeds are 0 or more"):
        Run("study", "arm", -1)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = StudyRecord(
        "study",
        "none",
        "test/miou",
        {"epochs": 3, "data": {"size": [2, 3], "void": None}},
        {"none": {"loss": "CE"}, "l2": {}},
        accepted=(AcceptedEdit("losses.Mine", "a", None, "only renamed"),),
        version="0.2.0",
    )
    assert read_record(tmp_path) is None
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    assert list(read_record(tmp_path).arms) == ["none", "l2"]  # type: ignore[union-attr]


def test_factors_are_kept_and_are_no_part_of_an_identity(tmp_path: Path) -> None:
    plain = StudyRecord("study", "none+full", "test/miou", {"epochs": 3}, {"none+full": {"loss": "CE"}})
    crossed = dataclasses.replace(plain, factors=("penalty", "schedule"))
    write_record(tmp_path, crossed)
    assert read_record(tmp_path) == crossed
    assert identity(plain, Run("study", "none+full", 0)) == identity(crossed, Run("study", "none+full", 0))


def test_a_record_from_before_there_were_factors_has_none(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text('{"study": "a", "baseline": "b", "metric": "c", "shared": {"seglab": "0.1.0"}, "arms": {}}')
    assert read_record(tmp_path) == StudyRecord("a", "b", "c", {"seglab": "0.1.0"}, {}, factors=(), version="0.1.0", schema=1)


def test_a_record_of_an_older_schema_takes_no_more_runs(tmp_path: Path) -> None:
    record = StudyRecord("a", "b", "c", {"seglab": "0.1.0"}, {}, version="0.1.0", schema=1)
    with pytest.raises(ValueError, match=r"recorded by seglab 0\.1\.0 \(schema 1\).*go on with it with seglab 0\.1\.0"):
        check_schema(tmp_path, record)
    check_schema(tmp_path, dataclasses.replace(record, schema=SCHEMA))


def test_what_a_newer_seglab_wrote_is_refused_and_not_misread(tmp_path: Path) -> None:
    write_record(tmp_path, StudyRecord("a", "b", "c", {}, {}, version="9.0", schema=SCHEMA + 1))
    with pytest.raises(ValueError, match=rf"written by seglab 9\.0 \(schema {SCHEMA + 1}\).*update seglab"):
        read_record(tmp_path)
    write_result(tmp_path / "result.json", example(version="9.0", schema=SCHEMA + 1))
    with pytest.raises(ValueError, match=rf"written by seglab 9\.0 \(schema {SCHEMA + 1}\).*update seglab"):
        read_result(tmp_path / "result.json")


def test_what_is_shown_to_people_is_no_setting() -> None:
    one = StudyRecord("study", "none", "test/miou", {}, {"none": {"loss": "CE", "display": {"phases": ["a"]}}})
    other = StudyRecord("study", "none", "test/miou", {}, {"none": {"loss": "CE", "display": {"phases": ["b"]}}})
    assert identity(one, Run("study", "none", 0)) == identity(other, Run("study", "none", 0))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{", "not JSON"),
        ("[]", "a list, not an object"),
        (
            '{"study": "a", "baseline": "b", "metric": "c", "shared": {}, "arms": {}, "factors": "penalty"}',
            "Expected `array`, got `str` at `factors`",
        ),
        (
            '{"study": "a", "baseline": "b", "metric": "c", "shared": {}, "arms": {}, "factors": [1, 2]}',
            "Expected `str`, got `int` at `factors[0]`",
        ),
        ('{"study": "a", "baseline": "b", "metric": "c", "shared": {}}', "missing required field `arms`"),
        ('{"study": 3, "baseline": "b", "metric": "c", "shared": {}, "arms": {}}', "Expected `str`, got `int` at `study`"),
        ('{"study": "a", "baseline": "b", "metric": "c", "shared": 3, "arms": {}}', "Expected `object`, got `int` at `shared`"),
        (
            '{"study": "a", "baseline": "b", "metric": "c", "shared": {}, "arms": {}, "analysis": {"baseline": "b", "metric": "c", '
            '"margin": null, "alpha": 0.05, "arms": ["b", "d"], "seeds": [0, 1, 0]}}',
            "seeds 0, 1, 0: one is there twice, and would count twice at `analysis`",
        ),
    ],
)
def test_a_damaged_record_is_never_to_be_deleted(tmp_path: Path, content: str, what: str) -> None:
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(ValueError, match=r"study\.json: damaged") as raised:
        read_record(tmp_path)
    assert what in str(raised.value)
    assert "Delete" not in str(raised.value)
    assert "Restore it, use the version of seglab that wrote it, or choose another folder with --name or --root" in str(raised.value)


def test_the_fingerprint_is_of_content_not_of_order() -> None:
    assert fingerprint({"a": 1, "b": [2, 3]}) == fingerprint({"b": [2, 3], "a": 1})
    different = [{"a": 1}, {"a": 1.5}, {"a": "1"}, {"a": None}, {"a": [1]}, {"b": 1}, {"a": {"a": 1}}]
    assert len({fingerprint(value) for value in different}) == len(different)
