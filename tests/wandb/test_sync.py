"""`seglab sync`: every row at the server once, whatever happens in between."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from seglab.dashboard.local import LocalLog, finished_below, logs_below, not_uploaded
from seglab.dashboard.server import ServedRun
from seglab.dashboard.sync import Attempts, plan
from seglab.running import ledger
from seglab.transaction_log import Contents, read_contents, write_rest
from tests.wandb.server import WandbServer

RUNS, ROWS = 4, 400
SEGLAB = [sys.executable, "-c", "from seglab.cli import main; main()"]

Sync = Callable[..., "subprocess.CompletedProcess[str]"]


def make_study(folder: Path, runs: int, tuning: int, rows: int) -> Path:
    words = [sys.executable, str(Path(__file__).with_name("study.py")), folder, runs, tuning, rows]
    subprocess.run([*map(str, words)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of four runs with two offline attempts each."""
    folder = tmp_path_factory.mktemp("logged") / "demo"
    return make_study(folder, RUNS, 0, ROWS)


@pytest.fixture
def study(logged: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(logged, tmp_path / "runs" / "demo", symlinks=True))


@pytest.fixture
def sync(wandb_server: WandbServer, study: Path, tmp_path: Path) -> Sync:
    """Runs `seglab sync` on the study."""

    def run(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        given = {**wandb_server.environment(), **environment}
        return subprocess.run([*SEGLAB, "sync", str(study), *words], env=given, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def uploaded(server: WandbServer) -> bool:
    """Return whether the server has every row of every run once, in order, and nothing else."""
    rows = {name: [(row["_step"], row["val/miou"]) for row in run.rows] for name, run in server.runs.items()}
    return rows == {f"demo-l2-s{seed}": [(row, row / 100) for row in range(ROWS)] for seed in range(RUNS)}


def first_log(study: Path) -> LocalLog:
    return logs_below(study)[0]


@pytest.mark.slow
def test_all_runs_at_once_and_then_nothing(wandb_server: WandbServer, sync: Sync, study: Path, tmp_path: Path) -> None:
    dry = sync("--dry_run")
    assert (dry.returncode, dry.stdout.count("would upload"), wandb_server.runs) == (0, RUNS, {})
    assert len(not_uploaded(study)) == RUNS
    first = sync()
    assert (first.returncode, first.stderr) == (0, "")
    assert f"4 runs uploaded to {wandb_server.url}" in first.stdout
    assert uploaded(wandb_server)
    assert {run.exit_code for run in wandb_server.runs.values()} == {0}
    assert not_uploaded(study) == []
    before = dict(wandb_server.operations)
    again = sync()
    assert (again.returncode, "nothing to upload" in again.stdout) == (0, True)
    assert dict(wandb_server.operations) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]  # and no folder of W&B's in the working directory


@pytest.mark.weekly
def test_each_row_once_however_often_it_is_killed(wandb_server: WandbServer, sync: Sync, study: Path, tmp_path: Path) -> None:
    partial = 0
    for answered in (12, 14, 19, 25, 33):
        wandb_server.break_down("hang", after=answered)
        words = [*SEGLAB, "sync", str(study), "-n", "2"]
        process = subprocess.Popen(words, env=wandb_server.environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 40
        while not wandb_server.is_broken and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        process.kill()
        process.communicate()
        wandb_server.recover()
        sizes = [len(run.rows) for run in wandb_server.runs.values()]
        partial += any(0 < size < ROWS and size != ROWS // 3 for size in sizes)
    last = sync()
    assert (last.returncode, last.stderr) == (0, "")
    assert uploaded(wandb_server)
    assert partial > 0  # else the test tests nothing


@pytest.mark.weekly
def test_a_large_study_with_tuning(wandb_server: WandbServer, tmp_path: Path) -> None:
    """One command sends 28 runs and 8 of tuning; killed in the middle and repeated, it sends no row twice.

    A third call finds nothing left to send.
    """
    folder = make_study(tmp_path / "runs" / "demo", 28, 8, 30)
    words = [*SEGLAB, "sync", str(folder)]
    process = subprocess.Popen(words, env=wandb_server.environment(), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while sum(run.exit_code is not None for run in wandb_server.runs.values()) < 10 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    done = {name for name, run in wandb_server.runs.items() if run.exit_code is not None}
    assert 10 <= len(done) < 36
    second = subprocess.run(words, env=wandb_server.environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (second.returncode, second.stderr) == (0, "")
    names = {f"demo-l2-s{seed}" for seed in range(28)} | {f"demo-tuning-l2-s{seed}" for seed in range(1000, 1008)}
    assert {name: [row["_step"] for row in run.rows] for name, run in wandb_server.runs.items()} == {name: [*range(30)] for name in names}
    before = dict(wandb_server.operations)
    third = subprocess.run(words, env=wandb_server.environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (third.returncode, "nothing to upload" in third.stdout) == (0, True)
    assert dict(wandb_server.operations) == before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_one_line(wandb_server: WandbServer, sync: Sync, study: Path, tmp_path: Path, number: signal.Signals) -> None:
    wandb_server.break_down("hang", after=14)
    process = subprocess.Popen(
        [*SEGLAB, "sync", str(study)],
        env=wandb_server.environment(),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not wandb_server.is_broken and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (75, "interrupted; the same command again goes on\n")
    wandb_server.recover()
    assert sync().returncode == 0
    assert uploaded(wandb_server)


@pytest.mark.slow
def test_a_damaged_log_is_named_and_the_others_go_on(wandb_server: WandbServer, sync: Sync, study: Path) -> None:
    broken, torn = first_log(study / "l2" / "seed-0"), logs_below(study / "l2" / "seed-1")[1]
    broken.path.write_bytes(b"no log at all")
    torn.path.write_bytes(torn.path.read_bytes()[:9000] + bytes(100) + torn.path.read_bytes()[9100:])
    readable = read_contents(torn.path).rows
    assert 0 < readable < ROWS - ROWS // 3
    (study / "l2" / "seed-1" / "wandb" / "seglab.json").write_text('{"complete": true}')
    done = sync()
    assert done.returncode == 1
    assert f"error: {broken.path}: damaged (no record of the run can be read)" in done.stderr
    assert f"has {ROWS // 3 + readable} rows of it, and metrics.csv has {ROWS}" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    sizes = {seed: len(wandb_server.runs[f"demo-l2-s{seed}"].rows) for seed in range(RUNS)}
    assert sizes == {0: ROWS - ROWS // 3, 1: ROWS // 3 + readable, 2: ROWS, 3: ROWS}


@pytest.mark.slow
def test_running_runs_are_skipped_and_named(wandb_server: WandbServer, sync: Sync, study: Path) -> None:
    directory = study / "l2" / "seed-2"
    (directory / "result.json").unlink()
    lease = ledger.claim(directory)
    assert lease is not None
    try:
        done = sync()
    finally:
        lease.release()
    assert (done.returncode, f"skipped, still running: {directory}" in done.stdout) == (0, True)
    assert set(wandb_server.runs) == {"demo-l2-s0", "demo-l2-s1", "demo-l2-s3"}


@pytest.mark.slow
def test_two_at_once_do_not_upload_one_run(wandb_server: WandbServer, sync: Sync, study: Path) -> None:
    lease = ledger.claim(study / "l2" / ".sync")
    assert lease is not None
    try:
        done = sync()
    finally:
        lease.release()
    assert (done.returncode, wandb_server.runs) == (1, {})
    assert (
        done.stderr
        == f"error: {study / 'l2'}: process {os.getpid()} on {ledger.Owner.this_process().host} uploads its runs now; they are left to it\n"
    )


@pytest.mark.weekly
def test_an_online_run_is_never_sent_twice(wandb_server: WandbServer, study: Path, tmp_path: Path, sync: Sync) -> None:
    shutil.rmtree(study)
    words = [sys.executable, str(Path(__file__).with_name("study.py")), str(study), "2", "0", "60"]
    subprocess.run(words, check=True, capture_output=True, env=wandb_server.environment())
    assert {len(run.rows) for run in wandb_server.runs.values()} == {60}
    streams = wandb_server.operations["file_stream"]
    assert not_uploaded(study) == []
    done = sync()
    assert (done.returncode, done.stderr, wandb_server.operations["file_stream"]) == (0, "", streams)
    run = wandb_server.runs["demo-l2-s1"]
    for row in range(50, 60):  # as if the end had not reached the server
        del run.history[row]
    run.exit_code = None
    for log in logs_below(study):
        log.marker.unlink()
    assert sync().returncode == 0
    assert [row["_step"] for row in run.rows] == list(range(60))
    assert {(run.exit_code, len(run.rows)) for run in wandb_server.runs.values()} == {(0, 60)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"WANDB_API_KEY": "", "NETRC": "/nonexistent"}, ("nobody is logged in", "wandb login")),
        ({"WANDB_API_KEY": "b" * 40}, ("W&B cannot be used", "not logged in")),
        ({"WANDB_API_KEY": "bad"}, ("W&B cannot be used", "API key must have 40")),
        ({"WANDB_BASE_URL": "http://127.0.0.1:9"}, ("http://127.0.0.1:9", "no answer within 20 s", "check the network")),
    ],
)
def test_without_a_login_or_a_network_there_is_one_line(
    sync: Sync, study: Path, environment: dict[str, str], words: tuple[str, ...]
) -> None:
    done = sync(**environment)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert all(word in done.stderr for word in words), done.stderr
    assert len(not_uploaded(study)) == RUNS


@pytest.mark.slow
def test_an_outage_in_the_middle_is_waited_for(wandb_server: WandbServer, study: Path, tmp_path: Path) -> None:
    wandb_server.break_down("503", after=20)
    process = subprocess.Popen([*SEGLAB, "sync", str(study)], env=wandb_server.environment(), cwd=tmp_path, stdout=subprocess.PIPE)
    while not wandb_server.is_broken and process.poll() is None:
        time.sleep(0.02)
    time.sleep(2)
    wandb_server.recover()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert uploaded(wandb_server)


def test_a_log_of_a_process_that_was_killed_at_once_is_not_waited_for(study: Path) -> None:
    for log in logs_below(study):
        log.path.write_bytes(b"")
    assert not_uploaded(study) == []


def test_a_log_that_is_deleted_meanwhile_is_not_uploaded(study: Path) -> None:
    log = first_log(study)
    shutil.rmtree(log.run / "wandb")
    assert not log.is_uploaded


@pytest.mark.slow
def test_an_entity_that_the_server_does_not_know(wandb_server: WandbServer, sync: Sync, study: Path, tmp_path: Path) -> None:
    """The logs name it, so that the same command would fail for ever. The command that is named works."""
    shutil.rmtree(study)
    made = [sys.executable, str(Path(__file__).with_name("study.py")), study, 1, 0, 6]
    environment = {**wandb_server.environment("offline"), "WANDB_ENTITY": "nobody"}
    subprocess.run([*map(str, made)], env=environment, check=True, capture_output=True)
    done = sync()
    assert done.returncode == 1
    assert "error: entity nobody not found" in done.stderr
    assert "the same command goes on with it" not in done.stderr
    assert done.stderr.count("not uploaded as a whole; `wandb sync --entity NAME` and this folder send it to another entity") == 2
    folders = [str(log.path.parent) for log in logs_below(study)]
    command = [sys.executable, "-m", "wandb", "sync", "--yes", "--entity", "me", *folders]
    subprocess.run(command, env=wandb_server.environment(), cwd=tmp_path, check=True, capture_output=True)
    assert (sync().returncode, not_uploaded(study)) == (0, [])


@pytest.mark.slow
def test_folders_of_the_user_may_be_called_wandb(logged: Path, tmp_path: Path) -> None:
    """Such as the root of all studies; W&B's own folder in a run is another one."""
    root = tmp_path / "wandb"
    shutil.copytree(logged, root / "wandb" / "demo", symlinks=True)
    assert len(logs_below(root)) == len(logs_below(tmp_path)) == 2 * RUNS
    assert len(list(finished_below(root))) == RUNS
    assert len(not_uploaded(root)) == RUNS


def test_a_copy_of_a_log_lacks_its_first_rows_only(logged: Path, tmp_path: Path) -> None:
    log = logs_below(logged)[1].path
    copy = tmp_path / log.name
    write_rest(log, copy, 0)
    assert copy.read_bytes() == log.read_bytes()
    assert log.stat().st_size > 2 * 32768  # several blocks
    write_rest(log, copy, 100)
    whole, rest = read_contents(log), read_contents(copy)
    assert rest == replace(whole, first_step=(whole.first_step or 0) + 100, rows=whole.rows - 100)
    said = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(copy)], capture_output=True, text=True, check=True
    )
    assert said.stdout.count('"type":"history"') == rest.rows


def contents(first: int | None, rows: int) -> Contents:
    return Contents("", "p", "id", first, rows, is_whole=True, has_ended=True)


OFF, ON = "offline-run-20260101_00000{}-id", "run-20260101_00000{}-id"
PLANS: list[tuple[tuple[str, ...], tuple[tuple[int | None, int], ...], tuple[int, bool] | None, list[tuple[int, int]], int]] = [
    # names, (first, rows) of each log, rows and end at the server, expected: (log, skipped) to send, rows in the end
    ((OFF,), ((0, 5),), None, [(0, 0)], 5),
    ((OFF,), ((0, 5),), (3, False), [(0, 3)], 5),
    ((OFF,), ((0, 5),), (5, True), [(0, 5)], 5),
    ((OFF, OFF), ((0, 5), (5, 4)), None, [(0, 0), (1, 0)], 9),
    ((OFF, OFF), ((0, 5), (5, 4)), (6, False), [(0, 5), (1, 1)], 9),
    ((OFF, OFF), ((0, 5), (0, 4)), (6, False), [(0, 5), (1, 1)], 9),  # numbered from 0 again, as by seglab 0.3
    ((OFF, OFF), ((3, 5), (8, 4)), (6, False), [(0, 5), (1, 1)], 9),  # rows 0 to 2 are in a log that cannot be read
    ((OFF, OFF), ((None, 0), (0, 4)), (2, False), [(0, 0), (1, 2)], 4),
    ((ON,), ((0, 5),), (5, True), [], 5),
    ((ON,), ((0, 5),), (5, False), [(0, 5)], 5),
    ((ON,), ((0, 5),), (2, False), [(0, 2)], 5),
    ((ON,), ((0, 5),), None, [(0, 0)], 5),
    ((ON, ON), ((0, 5), (3, 4)), (7, True), [], 7),
    ((OFF, ON), ((0, 5), (0, 9)), (9, True), [(0, 5)], 9),
    ((ON, OFF), ((0, 5), (5, 3)), (5, False), [(0, 5), (1, 0)], 8),
]


@pytest.mark.parametrize(("names", "rows", "there", "sent", "end"), PLANS)
def test_what_is_sent(
    tmp_path: Path,
    names: tuple[str, ...],
    rows: tuple[tuple[int | None, int], ...],
    there: tuple[int, bool] | None,
    sent: list[tuple[int, int]],
    end: int,
) -> None:
    (tmp_path / "result.json").touch()
    logs = [LocalLog(tmp_path / "wandb" / name.format(place) / "run-id.wandb") for place, name in enumerate(names)]
    for log in logs:
        log.path.parent.mkdir(parents=True)
        log.path.write_bytes(bytes(8))
    attempts = Attempts(tmp_path, [(log, contents(*of)) for log, of in zip(logs, rows, strict=True)])
    plan(attempts, None if there is None else ServedRun(*there))
    assert [(logs.index(part.log), part.skipped) for part in attempts.parts] == sent
    assert attempts.rows == end


def test_a_folder_without_logs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from seglab import cli

    for words, reason in (
        (["sync", str(tmp_path)], f"error: {tmp_path}: no run below it has a log of Weights & Biases"),
        (["sync", str(tmp_path / "nothing")], f"error: {tmp_path / 'nothing'}: no such folder"),
        (["sync", str(tmp_path), "-n", "0"], "error: -n 0: must be 1 or more"),
        (["sync", str(tmp_path), "-n", "x"], "error: -n: expected int, got x"),
        (["sync", str(tmp_path), "--jobs", "3"], "error: there is no flag --jobs"),
        (["sync"], "error: seglab sync needs FOLDER: a study's folder"),
    ):
        monkeypatch.setattr(sys, "argv", ["seglab", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        err = capsys.readouterr().err
        assert (ended.value.code, err.startswith(reason), err.count("\n")) == (2, True, 1), err
