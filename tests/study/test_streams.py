"""A script under unusual standard streams, and started in unusual ways."""

import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seglab.records import Result, Run, StudyRecord, identity, write_record, write_result
from seglab.script.main import main
from tests.study import tiny_experiment
from tests.study.scripts import SCRIPT

ROOT = Path(__file__).parents[2]
QUICK = "from seglab.cli import main; main()"
"""The `seglab` command, which imports no torch to read."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two arms and two seeds, whose comparison has a `±`."""
    folder = tmp_path_factory.mktemp("streams") / "drawn"
    record = StudyRecord("drawn", "none", "test/miou", {"epochs": 1}, {"none": {}, "l2": {}})
    for run in (Run("drawn", arm, seed) for arm in record.arms for seed in range(2)):
        run.directory(folder).mkdir(parents=True)
        scores = {"miou": 0.5 + run.seed / 100}
        result = Result(run, identity(record, run), ("a", "b"), scores, scores, {"test": {"iou": (0.5, 0.6)}}, {"seconds": 1.0}, None, "")
        write_result(run.directory(folder) / "result.json", result)
    write_record(folder, record)
    return folder


def shell(line: str, place: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of bash in `place`; PYTHON is the interpreter."""
    line = line.replace("PYTHON", shlex.quote(sys.executable))
    given = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(["bash", "-c", line], cwd=place, env=given, capture_output=True, text=True, errors="replace", timeout=300)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_table_that_the_encoding_cannot_hold_is_shown_all_the_same(encoding: str, folder: Path) -> None:
    done = shell(f"PYTHON -c '{QUICK}' compare {folder}", folder, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Mean" in done.stdout


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("what", "code"), [("status FOLDER", 0), ("compare FOLDER", 0), ("status nowhere", 2)])
def test_closed_streams_change_no_exit_code(what: str, code: int, closed: str, folder: Path) -> None:
    done = shell(f"PYTHON -c '{QUICK}' {what.replace('FOLDER', str(folder))} {closed}", folder)
    assert done.returncode == code
    assert done.stderr.count("\n") == (1 if code and "2>" not in closed else 0)


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    code = "from seglab.script.streams import prepare_streams; prepare_streams(); import os; print('x'); os.write(1, b'y'); os.write(2, b'z'); "
    done = shell(f"PYTHON -c \"{code} open('a.txt', 'w').close()\" <&- >&- 2>&-", tmp_path)
    assert (done.returncode, (tmp_path / "a.txt").read_bytes()) == (0, b"")


@pytest.mark.parametrize("reader", ["head -c 1", "true"])
@pytest.mark.parametrize("code", ["print('x' * 200000)", "[print('x', flush=True) for _ in range(20000)]"])
def test_a_reader_that_has_seen_enough_is_no_error(code: str, reader: str, tmp_path: Path) -> None:
    command = f"import sys; from seglab.script.errors import exit_code; sys.exit(exit_code(lambda: len([{code}]) - 1))"
    done = shell(f'PYTHON -c "{command}" | {reader}; printf "\\n${{PIPESTATUS[0]}}"', tmp_path)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("1", "")


def ended(monkeypatch: pytest.MonkeyPatch, place: Path, start: Callable[[], object]) -> object:
    """The exit code of a script that `start` runs in this process, in `place`."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as end:
        start()
    return end.value.code


@pytest.mark.parametrize("name", ["-c", "-", ""])
def test_a_script_in_no_file_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "run"])
    assert ended(monkeypatch, tmp_path, lambda: main(tiny_experiment.study)) == 2
    assert capfd.readouterr().err == (
        "error: the script of a study is started again by each worker, and this one is in no file: save it, and run the file\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_module_is_started_again_as_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Started by its path, it would not find its own package."""
    module = "tests.study.tiny_experiment"
    monkeypatch.setattr(sys, "argv", ["", "run", "--dry_run"])
    monkeypatch.delitem(sys.modules, module)
    assert ended(monkeypatch, tmp_path, lambda: runpy.run_module(module, run_name="__main__", alter_sys=True)) == 0
    assert f"python -m {module} run --arm none --seed 0\n" in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "said"), [("PYTHON -", "save it"), ('PYTHON -c "$(cat)"', "save it"), (f"PYTHON -OO {SCRIPT}", "start without -OO")]
)
def test_a_script_that_workers_cannot_start_is_refused(how: str, said: str, tmp_path: Path) -> None:
    """Otherwise they wait for ever, or end with the error of another program."""
    done = shell(f"cat {SCRIPT} | {how} run --wandb disabled", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []
