"""A study that is logged at W&B, read back from the server and compared with its files."""

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from seglab.dashboard.local import not_uploaded
from seglab.records import Result, read_result
from seglab.tracking import lacks_rows, log_missing, read_state
from seglab.tracking.state import moved, write_state
from seglab.tracking.tables import CLASS_COLUMNS, CONFUSION_COLUMNS, IMAGE_COLUMNS
from tests.study.scripts import SCRIPT
from tests.wandb.served import ServedRun
from tests.wandb.server import WandbServer

ROOT = Path(__file__).parents[2]
COLUMNS = {
    *(
        "study",
        "arm",
        "seed",
        "phase",
        "baseline",
        "identity",
        "setting",
        "penalty",
        "penalty_how",
        "strength",
        "ratio",
        "schedule",
        "loss",
    ),
    *(
        "lr",
        "optimizer",
        "scheduler",
        "architecture",
        "encoder",
        "weights",
        "dataset",
        "train_fraction",
        "epochs",
        "batch_size",
        "precision",
    ),
    *("steps", "command", "folder", "host", "versions", "phases"),
}
ENDS = ("test/", "train/miou", "gap/", "cost/", "best/")


def run_study(server: WandbServer, folder: Path, *words: str) -> None:
    given = {**server.environment(), "WANDB_TAGS": "mine, other", "WANDB_NAME": "foreign", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(SCRIPT), "run", *words]
    done = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "err.txt").write_text(done.stderr)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WandbServer, Path]]:
    """Return a server with a study of 3 arms × 2 seeds, and the study's folder."""
    folder = tmp_path_factory.mktemp("studied")
    with WandbServer() as server:
        run_study(server, folder, "--wandb_model", "true")
        assert server.unknown == []
        yield server, folder / "runs" / "tiny"


def pairs(studied: tuple[WandbServer, Path]) -> Iterator[tuple[ServedRun, Path, Result]]:
    """Yield each run as the server has it, with its folder and its result."""
    server, folder = studied
    assert len(server.runs) == 6
    for path in sorted(folder.glob("*/seed-*/result.json")):
        result = read_result(path)
        run_id = f"tiny-{result.run.arm}-s{result.run.seed}-{result.identity[:8]}"
        yield server.runs[run_id], path.parent, result


def is_medium(value: object) -> bool:
    return isinstance(value, dict)


def near(one: object, other: float) -> bool:
    """Return whether W&B has a number; it writes NaN as text."""
    return (math.isnan(other) and str(one).lower() == "nan") or (
        isinstance(one, int | float) and abs(one - other) <= 1e-6 * max(1, abs(other))
    )


def test_the_configuration_is_flat_and_has_the_same_keys(studied: tuple[WandbServer, Path]) -> None:
    for run, directory, result in pairs(studied):
        flat = {key: value for key, value in run.config.items() if key != "settings"}
        assert set(flat) == COLUMNS
        assert all(value is None or isinstance(value, str | int | float | bool) for value in flat.values())
        assert not [key for key in run.config if "." in key]
        assert (flat["study"], flat["arm"], flat["seed"], flat["phase"]) == ("tiny", result.run.arm, result.run.seed, "final")
        assert flat["penalty"] == result.run.arm
        assert flat["penalty_how"] == {"none": None, "l1": "proximal", "l2": "gradient"}[result.run.arm]
        assert flat["strength"] == (None if result.run.arm == "none" else 1e-3)
        assert (flat["baseline"], flat["steps"], flat["epochs"], flat["batch_size"]) == (result.run.arm == "none", 8, 2, 4)
        assert flat["folder"] == str(directory)
        assert run.config["settings"]["shared"]["data"]["batch_size"] == 4


def test_names_groups_and_tags(studied: tuple[WandbServer, Path]) -> None:
    for run, _, result in pairs(studied):
        assert (run.name, run.group, run.job_type) == (result.run.name, f"tiny/{result.run.arm}", "train")
        assert run.tags == ["tiny", result.run.arm, "final", "mine", "other"]
        assert run.exit_code == 0
        assert "run --epochs 2" in str(run.notes)
    assert Counter(run.group for run in studied[0].runs.values()) == {"tiny/none": 2, "tiny/l1": 2, "tiny/l2": 2}
    said = (studied[1].parents[1] / "err.txt").read_text()
    assert said.count("WANDB_NAME: not followed") == 1


def test_the_summary_is_the_result(studied: tuple[WandbServer, Path]) -> None:
    for run, directory, result in pairs(studied):
        defined = {name: value for name, value in result.numbers.items() if not math.isnan(value)}
        assert len(defined) > 40
        for name, value in defined.items():
            assert near(run.summary[name], value), (result.run.name, name, run.summary[name], value)
        with (directory / "metrics.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["val/miou"]]
        assert len(rows) == 2
        best = max(rows, key=lambda row: float(row["val/miou"]))  # the first of equal ones
        assert (run.summary["best/val_miou"], run.summary["best/step"]) == (float(best["val/miou"]), int(best["step"]))
        assert run.summary["best/val_dice"] == max(float(row["val/dice"]) for row in rows)
        assert run.summary["best/val_loss"] == min(float(row["val/loss"]) for row in rows)


def test_each_row_of_the_training_is_there_once(studied: tuple[WandbServer, Path]) -> None:
    for run, directory, _ in pairs(studied):
        with (directory / "metrics.csv").open() as file:
            rows = [{name: cell for name, cell in row.items() if cell} for row in csv.DictReader(file)]
        assert [row["_step"] for row in run.rows] == list(range(len(rows)))
        for row, sent in zip(rows, run.rows, strict=True):
            expected = {
                "trainer/global_step" if name == "step" else f"lr/{name.split('/')[1]}" if name.endswith("/lr") else name: float(cell)
                for name, cell in row.items()
                if ("test/miou" not in row and "train/miou" not in row) or name in ("step", "epoch")
            }
            assert {key: value for key, value in sent.items() if key[0] != "_" and not is_medium(value)} == expected


def test_the_page_of_metrics_names_what_is_logged(studied: tuple[WandbServer, Path]) -> None:
    """And nothing else, apart from what this study has not: terms of a loss, factors, and a Smooth-L1 penalty."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    table = page.partition("## Columns of")[2]
    names = {name for line in table.splitlines() if line.startswith("| `") for name in re.findall("`([^`]*)`", line.split("|")[1])}
    patterns = {name: re.compile(re.sub("[A-Z]+", ".+", name.replace("SCORE", "([a-z_0-9]+)"))) for name in names}
    scores = set(re.findall("`([a-z_0-9]+)(?:/CLASS)?`", page.partition("| score |")[2].partition("## ")[0]))
    used = set()
    for _, directory, _ in pairs(studied):
        with (directory / "metrics.csv").open() as file:
            columns = set(next(csv.reader(file))) - {"step", "epoch"}
        for column in columns:
            found = {name: match for name, pattern in patterns.items() if (match := pattern.fullmatch(column)) is not None}
            found = {name: match for name, match in found.items() if "SCORE" not in name or match[1] in scores}
            assert found, f"docs/reference/metrics.md lacks {column}"
            used |= set(found)
    assert {name.rpartition("/")[2] for name in names - used} == {"TERM", "penalty_factor", "NUMBER", "below_beta"}


def test_no_curve_has_one_point(studied: tuple[WandbServer, Path]) -> None:
    for run, _, _ in pairs(studied):
        counts = Counter(key for row in run.rows for key, value in row.items() if not is_medium(value))
        assert not [key for key, count in counts.items() if count == 1]
        assert not [key for key in counts if key.startswith(ENDS)]
        shown = [key for key in counts if not key.startswith(("stage/", "perf/", "val/dice/", "_"))]
        assert len(shown) < 40


def test_the_tables_are_the_result(studied: tuple[WandbServer, Path]) -> None:
    names = set()
    for run, directory, result in pairs(studied):
        columns, rows = run.table("test/classes")
        assert tuple(columns) == CLASS_COLUMNS
        for row, label, place in zip(rows, result.class_names, range(len(rows)), strict=True):
            assert row[:4] == ["tiny", result.run.arm, result.run.seed, label]
            for name, value in zip(columns[4:], row[4:], strict=True):
                expected = result.per_class["test"][name][place]
                assert near(value, expected)
        columns, rows = run.table("test/confusion")
        assert tuple(columns) == CONFUSION_COLUMNS
        with np.load(directory / "confusion.npz") as arrays:
            matrix = arrays["test"].sum(0)
        assert [row[2] for row in rows] == matrix.flatten().tolist()
        assert [row[:2] for row in rows] == [[one, other] for one in result.class_names for other in result.class_names]
        assert run.summary["test/confusion_picture"]["_type"] == "image-file"
        columns, rows = run.table("test/images")
        assert tuple(columns) == IMAGE_COLUMNS
        names.add(tuple(row[0] for row in rows))
        assert all(0 <= row[4] <= 1 and row[5] in result.class_names for row in rows)
    assert len(names) == 1
    assert len(next(iter(names))) == 6


def test_the_pictures_of_a_validation_are_those_of_the_first_seed(studied: tuple[WandbServer, Path]) -> None:
    for run, _, result in pairs(studied):
        found = [row["val/predictions"] for row in run.rows if "val/predictions" in row]
        assert [len(pictures["filenames"]) for pictures in found] == ([4, 4] if result.run.seed == 0 else [])
        assert all("val/miou" in row for row in run.rows if "val/predictions" in row)


def test_the_record_and_the_weights_are_kept(studied: tuple[WandbServer, Path]) -> None:
    server, _ = studied
    for run, directory, result in pairs(studied):
        (record,) = [artifact for artifact in server.artifacts if artifact.name == f"run-record-{run.id}"]
        assert json.loads(record.files["result.json"]) == json.loads((directory / "result.json").read_text())
        assert {"settings.yaml", "result.json", "environment.json", "metrics.csv", "log.txt"} <= set(record.files)
        (model,) = [artifact for artifact in server.artifacts if artifact.name == f"model-{run.id}"]
        assert model.files["last.ckpt"] == (directory / "checkpoints" / "last.ckpt").read_bytes()
        assert {"final", result.run.arm} <= set(model.aliases)


def test_the_log_of_a_run_has_no_warning(studied: tuple[WandbServer, Path]) -> None:
    for _, directory, _ in pairs(studied):
        assert "anonymous" not in (directory / "log.txt").read_text()
        state = read_state(directory)
        assert state is not None
        assert (state.mode, state.complete, state.problem, lacks_rows(directory)) == ("online", True, None, False)
        assert str(state.url).startswith(studied[0].url)


def test_what_an_upload_has_lost_is_logged_later(studied: tuple[WandbServer, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose last rows and tables the server never got, because it was cut off.

    They go into the project of the run, whatever the shell of `sync` says.
    """
    server, _ = studied
    run, directory, _ = next(pairs(studied))
    before, tables, summary = list(run.rows), run.table("test/classes"), dict(run.summary)
    for offset in sorted(run.history)[len(before) // 2 :]:
        del run.history[offset]
    for name in [name for name in run.summary if name.startswith("test/")]:
        del run.summary[name]
    run.summary["_step"] = run.rows[-1]["_step"]
    state = read_state(directory)
    assert state is not None
    write_state(replace(moved(state, directory), complete=False))
    assert lacks_rows(directory)
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_PROJECT", "elsewhere")
    sync(directory)
    assert not lacks_rows(directory)
    assert {one.project for one in server.runs.values()} == {"seglab"}
    assert run.tags[-2:] == ["mine", "other"]
    assert values(run.rows) == values(before)
    assert run.table("test/classes") == tables
    assert {name: value for name, value in run.summary.items() if name.startswith("test/") and not is_medium(value)} == {
        name: value for name, value in summary.items() if name.startswith("test/") and not is_medium(value)
    }


def sync(directory: Path) -> None:
    words = [sys.executable, "-c", "from seglab.cli import main; main()", "sync", str(directory)]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=240, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def values(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the numbers of rows."""
    return [{key: value for key, value in row.items() if key == "_step" or (key[0] != "_" and not is_medium(value))} for row in rows]


@pytest.mark.weekly
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_run_whose_log_was_deleted_is_logged_again(
    mode: Literal["online", "offline"], studied: tuple[WandbServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its own files, as if W&B had never had it; its pictures are lost."""
    server, _ = studied
    run, directory, _ = list(pairs(studied))[-1 if mode == "online" else -2]
    before, tables, summary = list(run.rows), run.table("test/classes"), dict(run.summary)
    state = read_state(directory)
    assert state is not None
    shutil.rmtree(directory / "wandb")
    write_state(replace(moved(state, directory), mode=mode, complete=False))
    del server.runs[run.id]
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    assert not_uploaded(directory) == [directory]
    sync(directory)
    again = server.runs[run.id]
    assert values(again.rows) == values(before)
    assert again.table("test/classes") == tables
    defined = {name: value for name, value in summary.items() if not name.startswith("_") and not is_medium(value)}
    assert {name: again.summary[name] for name in defined} == defined
    assert not_uploaded(directory) == []


def test_a_folder_without_a_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no wandb/seglab.json"):
        log_missing(tmp_path)
