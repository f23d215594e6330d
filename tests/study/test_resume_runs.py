"""A run that was interrupted ends as if it had not been: weights, scores and metrics log, bit by bit.

Real processes, really killed.
"""

import contextlib
import csv
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from seglab.checkpoints import newest, previous
from seglab.files import host
from seglab.records import Run, read_record, read_result
from seglab.running import ledger
from seglab.running.worker import write_failure
from tests.study.attempts import SCRIPT, attempt, leftovers, started, what_counts
from tests.study.fragile_experiment import BALLAST

STEPS = 20  # 4 epochs of 5
Beginning = Callable[..., Path]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder in memory if possible, because a synchronised checkpoint before each step takes time on a disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path_factory.mktemp("resume")
        return
    folder = memory / f"seglab-tests-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def finished(place: Path, *words: object) -> Path:
    """The folder of a study that has run without interruption."""
    place.mkdir()
    assert attempt(place, "run", "--wandb", "disabled", *words) == 0, (place / "printed.txt").read_text()
    return place / "runs" / "fragile"


@pytest.fixture(scope="module")
def whole(shared: Path) -> Path:
    return finished(shared / "whole")


@pytest.fixture(scope="module")
def whole_by_two(shared: Path) -> Path:
    """Two batches to an optimizer step, the last of an epoch with one."""
    return finished(shared / "whole-by-two", "--accumulate", 2, "--arm", "gradual")


@pytest.fixture
def begun(shared: Path, request: pytest.FixtureRequest) -> Beginning:
    """A place where a study has been planned and nothing done."""

    return lambda study: planned(shared / request.node.name.translate(str.maketrans("[]/", "___")), study)


def planned(place: Path, study: Path) -> Path:
    (place / "runs" / "fragile").mkdir(parents=True)
    shutil.copy(study / "study.json", place / "runs" / "fragile")
    return place


@pytest.fixture
def draw() -> random.Random:
    """Another one each time; pytest shows what a failed test has printed."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"drawn from the seed {seed}")
    return random.Random(seed)


def work(place: Path, arm: str, *words: object, minutes: float = 0, **environment: object) -> int:
    """Do what a worker does on one run."""
    given = ("--wandb", "disabled", *words)
    return attempt(place, "work", "--arm", arm, "--seed", 0, "--checkpoint_minutes", minutes, *given, **environment)


def run_of(place: Path, arm: str) -> Path:
    return place / "runs" / "fragile" / arm / "seed-0"


def assert_same(place: Path, study: Path, arm: str) -> None:
    """Check that a run ended as the uninterrupted one, and that nothing is left behind."""
    ours, theirs = what_counts(run_of(place, arm)), what_counts(study / arm / "seed-0")
    assert ours["rows"] == theirs["rows"]
    assert ours["result"] == theirs["result"]
    assert ours["weights"] == theirs["weights"]
    assert leftovers(place) == []


CASES = [("plain", 0), ("gradual", 1), ("measured", 0), ("averaging", 0)]


@pytest.mark.parametrize(("arm", "workers"), CASES)
def test_killed_at_drawn_steps(arm: str, workers: int, whole: Path, begun: Beginning) -> None:
    """Three times, at a checkpoint before each step or one now and then: what follows it is done again."""
    place, draw = begun(whole), random.Random(arm)
    for step in sorted(draw.sample(range(STEPS), 3)):
        minutes = draw.choice([0, 0.0005])
        code = work(place, arm, "--data.num_workers", workers, minutes=minutes, DIE_AT=step)
        assert code == -signal.SIGKILL, (place / "printed.txt").read_text()
    assert work(place, arm, "--data.num_workers", workers) == 0
    assert_same(place, whole, arm)


@pytest.mark.weekly
def test_killed_within_a_window_of_batches(whole_by_two: Path, begun: Beginning) -> None:
    """Three optimizer steps an epoch, the last of one batch; saved between windows alone."""
    place = begun(whole_by_two)
    for step in (1, 5, 9):
        assert work(place, "gradual", "--accumulate", 2, DIE_AT=step) == -signal.SIGKILL
        saved = torch.load(run_of(place, "gradual") / "checkpoints" / "resume.ckpt", weights_only=True)
        assert saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] % 2 == 0
    assert work(place, "gradual", "--accumulate", 2) == 0
    assert_same(place, whole_by_two, "gradual")


@pytest.mark.parametrize(
    "number",
    ["SIGTERM", pytest.param("SIGUSR1", marks=pytest.mark.slow), pytest.param("SIGUSR2 SIGTERM", marks=pytest.mark.slow)],
    ids=["term", "usr1", "one on two ways"],
)
def test_asked_to_stop_it_saves_and_ends_with_75(number: str, whole: Path, begun: Beginning) -> None:
    """Between two steps, whatever the time since the last checkpoint; its lease is free."""
    place = begun(whole)
    run = run_of(place, "measured")
    assert work(place, "measured", minutes=10, DIE_AT=7, DIE_BY=number) == 75
    assert (run / "lease.0").read_text().endswith("released\n")
    assert not (run / "failure.json").exists()
    assert torch.load(run / "checkpoints" / "resume.ckpt", weights_only=True)["global_step"] == 8
    assert work(place, "measured", minutes=10) == 0
    assert_same(place, whole, "measured")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arm", "workers"), [case if case == ("gradual", 1) else pytest.param(*case, marks=pytest.mark.weekly) for case in CASES]
)
def test_asked_to_stop_while_it_validates(arm: str, workers: int, whole: Path, begun: Beginning) -> None:
    """Stop at the next batch and lose no step, unless the run averages over the epoch.

    After the last step of an epoch, stop before the first batch of the validation.
    """
    place = begun(whole)
    for where, step in (("10:0", 10), ("14", 15), ("20:1", 20)):
        code = work(place, arm, "--data.num_workers", workers, minutes=10, DIE_AT=where, DIE_BY="SIGTERM")
        assert code == 75, (place / "printed.txt").read_text()
        saved = run_of(place, arm) / "checkpoints" / "resume.ckpt"
        if arm == "averaging":
            assert not saved.exists()
        else:
            assert torch.load(saved, weights_only=True)["global_step"] == step
    assert not (place / "ends.txt").exists()
    assert work(place, arm, "--data.num_workers", workers, minutes=10) == 0
    assert_same(place, whole, arm)


def test_asked_twice_it_stops_at_once(whole: Path, begun: Beginning) -> None:
    place = begun(whole)
    assert work(place, "plain", minutes=10, DIE_AT=7, DIE_BY="SIGTERM later SIGTERM") == 75
    assert not list(run_of(place, "plain").glob("checkpoints/*"))
    assert work(place, "plain", minutes=10) == 0
    assert_same(place, whole, "plain")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["4:replace", *(pytest.param(where, marks=pytest.mark.weekly) for where in ("3:fsync", "5:replace"))])
def test_killed_while_a_checkpoint_is_written(where: str, whole: Path, begun: Beginning) -> None:
    """Before its bytes are on the disk, and before and between the two renames."""
    place = begun(whole)
    assert work(place, "gradual", DIE_IN=where) == -signal.SIGKILL
    assert list(run_of(place, "gradual").glob("checkpoints/.*.part")), "it was not killed in the middle of it"
    assert work(place, "gradual", DIE_AT=9) == -signal.SIGKILL
    assert "it is not used" not in (run_of(place, "gradual") / "log.txt").read_text()
    assert work(place, "gradual") == 0
    assert_same(place, whole, "gradual")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(flip_a_bit, id="bit"),
        pytest.param(cut, id="cut", marks=pytest.mark.weekly),
        pytest.param(lambda path: path.write_bytes(b""), id="empty", marks=pytest.mark.weekly),
    ],
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(damage: Callable[[Path], Any], whole: Path, begun: Beginning) -> None:
    place = begun(whole)
    run = run_of(place, "measured")
    newest = run / "checkpoints" / "resume.ckpt"
    assert work(place, "measured", DIE_AT=7) == -signal.SIGKILL
    damage(newest)
    assert work(place, "measured", DIE_AT=9) == -signal.SIGKILL
    assert f"{newest.relative_to(place)}: damaged" in (run / "log.txt").read_text()
    damage(newest)
    damage(previous(newest))
    assert work(place, "measured") == 0, "with both gone it starts over"
    assert_same(place, whole, "measured")


@pytest.mark.slow
def test_a_checkpoint_of_other_settings_is_not_used(whole: Path, begun: Beginning, shared: Path) -> None:
    place, other = begun(whole), shared / "other-settings"
    other.mkdir()
    assert (
        attempt(other, "run", "--wandb", "disabled", "--arm", "plain", "--strength", 0.5, "--epochs", 3, DIE_AT=7, DIE_BY="SIGTERM") == 75
    )
    shutil.copytree(run_of(other, "plain"), run_of(place, "plain"))
    assert work(place, "plain") == 0
    assert (
        "resume.ckpt: belongs to a run of other settings or of another seed; it is not used"
        in (run_of(place, "plain") / "log.txt").read_text()
    )
    assert_same(place, whole, "plain")


def test_a_checkpoint_of_another_seed_is_not_used(whole: Path, begun: Beginning, shared: Path) -> None:
    place, other = begun(whole), shared / "other-seed"
    other.mkdir()
    assert attempt(other, "run", "--wandb", "disabled", "--arm", "plain", "--seed", 1, DIE_AT=7, DIE_BY="SIGTERM") == 75
    shutil.copytree(run_of(other, "plain").with_name("seed-1"), run_of(place, "plain"))
    assert work(place, "plain") == 0
    assert "or of another seed; it is not used" in (run_of(place, "plain") / "log.txt").read_text()
    assert_same(place, whole, "plain")


@pytest.mark.slow
def test_an_arm_that_the_folder_does_not_know_is_not_trained(whole: Path, begun: Beginning) -> None:
    """Start a worker as a job does whose script got one more arm while the job was in the queue."""
    place = begun(whole)
    record = place / "runs" / "fragile" / "study.json"
    known = json.loads(record.read_text())
    del known["arms"]["plain"]
    record.write_text(json.dumps(known))
    assert work(place, "plain") == 1
    failure = json.loads((run_of(place, "plain") / "failure.json").read_text())["error"]
    assert failure == "ValueError: runs/fragile/study.json does not have the arm plain; `run` or `launch` again adds it"
    assert attempt(place, "run", "--wandb", "disabled", "--arm", "plain") == 0
    assert_same(place, whole, "plain")


def test_the_costs_of_all_attempts_count(whole: Path, begun: Beginning) -> None:
    place = begun(whole)
    assert work(place, "plain", DIE_AT=7) == -signal.SIGKILL
    path = run_of(place, "plain") / "checkpoints" / "resume.ckpt"
    saved = torch.load(path, weights_only=True)
    saved["callbacks"]["Spent"] = {"seconds": 1000.0, "peak_memory_mib": 1e6}
    torch.save(saved, path)
    assert work(place, "plain") == 0
    cost = json.loads((run_of(place, "plain") / "result.json").read_text())["cost"]
    assert 1000 < cost["training_seconds"] < cost["seconds"] < 1240
    assert cost["peak_memory_mib"] == 1e6


def history(run: Path) -> list[int]:
    """The steps of the rows in W&B's offline logs of a run, all fragments together, read by its own reader."""
    reader = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json"]
    steps = []
    for log in sorted(run.glob("wandb/offline-run-*/run-*.wandb")):
        read = subprocess.run([*reader, str(log)], capture_output=True, text=True, check=True, timeout=60).stdout
        records = [record for record in map(json.loads, read.splitlines()) if record["type"] == "history"]
        steps += [record["history"]["item"]["trainer/global_step"] for record in records]
    return steps


@pytest.mark.slow
@pytest.mark.parametrize(
    ("minutes", "ends"),
    [
        (10, ((7, "SIGTERM later SIGTERM"), (3, "SIGTERM later SIGTERM"), (12, "SIGTERM"))),
        (0, ((7, "SIGKILL"), ("10:0", "SIGKILL"))),
        pytest.param(10, ((3, "SIGKILL"), (12, "SIGTERM"), (16, "SIGKILL")), marks=pytest.mark.weekly),
        pytest.param(0, ((16, "SIGKILL"), ("end", "SIGKILL")), marks=pytest.mark.weekly),
    ],
)
def test_weights_and_biases_has_each_row_once(minutes: float, ends: tuple[tuple[object, str], ...], whole: Path, begun: Beginning) -> None:
    """The run is stopped at once without a checkpoint, stopped in order, or killed.

    Without a checkpoint its first rows are repeated, and a kill loses rows of W&B.
    """
    place = begun(whole)
    run = run_of(place, "plain")
    for moment, by in ends:
        code = work(place, "plain", "--wandb", "offline", minutes=minutes, DIE_AT=moment, DIE_BY=by)
        assert code == (-signal.SIGKILL if by == "SIGKILL" else 75)
    assert work(place, "plain", "--wandb", "offline", minutes=minutes) == 0
    assert_same(place, whole, "plain")
    assert len({log.name for log in run.glob("wandb/offline-run-*/run-*.wandb")}) == 1, "one id"
    with (run / "metrics.csv").open() as file:
        assert Counter(history(run)) == Counter(int(row["step"]) for row in csv.DictReader(file))


def test_what_was_left_beside_a_result_goes(whole: Path, begun: Beginning) -> None:
    """By a process that looked at a run of somebody else, and was killed; or that was killed after its own result."""
    place = begun(whole)
    run = run_of(place, "plain")
    shutil.copytree(run_of(whole.parents[1], "plain"), run)
    dead = subprocess.Popen(["true"])
    dead.wait()
    for name in (f".clock.{host()}.{dead.pid}.140", "checkpoints/resume.ckpt", "checkpoints/resume.prev.ckpt"):
        (run / name).touch()
    assert work(place, "plain") == 0
    assert_same(place, whole, "plain")


def test_a_run_that_somebody_has_is_refused_by_its_owner_s_name(whole: Path, begun: Beginning) -> None:
    place = begun(whole)
    run = run_of(place, "plain")
    run.mkdir(parents=True)
    (run / "lease.0").write_text(f"elsewhere {os.getpid()}\n")
    code = attempt(place, "run", "--arm", "plain", "--seed", 0)
    assert code == 2
    assert f"error: fragile/plain/s0: process {os.getpid()} on elsewhere is working on it" in (place / "printed.txt").read_text()
    assert read_record(place / "runs" / "fragile") is not None
    assert Run("fragile", "plain", 0).directory(place / "runs" / "fragile") == run


@pytest.mark.slow
def test_of_all_attempts_the_first_cause_is_kept(whole: Path, begun: Beginning) -> None:
    """Until the run succeeds; its log has each."""
    place = begun(whole)
    run = run_of(place, "plain")
    assert work(place, "plain", "--retries", 1, DIE_AT=7, DIE_BY="ERROR") == 1
    assert (ledger.state(run), ledger.failures(run)) == ("failed", 2)
    assert json.loads((run / "failure.json").read_text())["error"] == "RuntimeError: in attempt 1"
    assert [line for line in (run / "log.txt").read_text().splitlines() if line.startswith("RuntimeError")] == [
        "RuntimeError: in attempt 1",
        "RuntimeError: in attempt 2",
    ]
    assert work(place, "plain", "--retries", 2, DIE_AT=9) == -signal.SIGKILL
    assert ledger.state(run) == "interrupted"
    assert work(place, "plain", "--retries", 2) == 0
    assert not (run / "failure.json").exists()
    assert_same(place, whole, "plain")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("when", "leave"),
    [
        (7, 4096),
        ("end", 0),
        *(pytest.param(*case, marks=pytest.mark.weekly) for case in ((7, 0), (7, 16384), ("end", 4096), ("end", 16384))),
    ],
)
def test_a_disk_that_fills_costs_nothing_that_was_there(when: object, leave: int, whole: Path, small_disk: Path) -> None:
    """In a training, or after the test; its last bytes are taken by whoever comes first."""
    place = planned(small_disk / "place", whole)
    run, result = run_of(place, "plain"), run_of(place, "gradual") / "result.json"
    result.parent.mkdir(parents=True)
    shutil.copy(whole / "gradual" / "seed-0" / "result.json", result)
    assert work(place, "plain", DIE_AT=when, DIE_BY="FULL", LEAVE=leave) == 1
    assert ledger.state(run) == "failed"
    assert result.read_bytes() == (whole / "gradual" / "seed-0" / "result.json").read_bytes()
    assert [path for path in leftovers(place) if "part" in path or "clock" in path] == []
    failure = run / "failure.json"
    assert not failure.exists() or "is full: free some of it, and the same command goes on" in failure.read_text()
    origin = f"{read_result(whole / 'plain' / 'seed-0' / 'result.json').identity} seed 0"
    assert newest(run / "checkpoints" / "resume.ckpt", origin) is not None
    (place / BALLAST).unlink()
    ledger.forget_failures(run)  # as `run` does
    assert work(place, "plain") == 0
    assert_same(place, whole, "plain")


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written_does_not_end_a_training(whole: Path, small_disk: Path) -> None:
    """The disk is full for some steps."""
    place = planned(small_disk / "place", whole)
    assert work(place, "plain", DIE_AT=7, DIE_BY="FULL", LEAVE=16384, FREE_AT=12) == 0
    assert "resume.ckpt: cannot be written (No space left on device)" in (run_of(place, "plain") / "log.txt").read_text()
    assert_same(place, whole, "plain")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("leave", "said"), [(8192, "OSError: [Errno 28] No space left on device"), (0, "see runs/fragile/plain/seed-0/log.txt")]
)
def test_on_a_full_disk_the_same_command_goes_on_when_there_is_space(leave: int, said: str, whole: Path, small_disk: Path) -> None:
    """Without any space, the run cannot write the cause either, and its log is empty."""
    place = planned(small_disk / "place", whole)
    words = ("run", "--wandb", "disabled", "--checkpoint_minutes", 0, "--arm", "plain", "--seed", 0)
    assert attempt(place, *words, DIE_AT="end", DIE_BY="FULL", LEAVE=leave) == 1
    printed = " ".join((place / "printed.txt").read_text().split())
    assert f"failed: fragile/plain/s0: {said}" in printed
    assert "the disk of runs/fragile is full: free some of it, and the same command goes on" in printed
    (place / BALLAST).unlink()
    assert attempt(place, *words) == 0
    assert_same(place, whole, "plain")


@pytest.mark.parametrize("text", ["CUDA out of memory. Tried to allocate", "DefaultCPUAllocator: can't allocate memory: you tried"])
def test_out_of_memory_names_the_batch_size(text: str, tmp_path: Path) -> None:
    write_failure(tmp_path, RuntimeError(f"{text}\nmore"), batch_size=64)
    error = json.loads((tmp_path / "failure.json").read_text())["error"]
    assert error == f"RuntimeError: {text} (data.batch_size is 64: lower it, or data.size; `accumulate` keeps the batch of a step)"


def test_full_shared_memory_is_named(tmp_path: Path) -> None:
    write_failure(tmp_path, RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible"), batch_size=64)
    error = json.loads((tmp_path / "failure.json").read_text())["error"]
    assert error.endswith("if /dev/shm is full, enlarge it, as by docker run --shm-size=8g, or give --data.num_workers 0)")


def test_the_end_of_another_rank_is_named(tmp_path: Path) -> None:
    text = "[gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:2: Connection reset by peer. This is typically caused by"
    write_failure(tmp_path, RuntimeError(text), batch_size=64)
    error = json.loads((tmp_path / "failure.json").read_text())["error"]
    said = "another process of the run has ended, perhaps killed for its memory: Connection reset by peer (the same command goes on)"
    assert error == f"RuntimeError: {said}"
    (tmp_path / "failure.json").unlink()
    write_failure(tmp_path, OSError("example.org: Connection reset by peer"), batch_size=64)
    assert "another process" not in (tmp_path / "failure.json").read_text()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    write_failure(tmp_path, OSError(errno.ENOSPC, "No space left on device"), batch_size=64)
    error = json.loads((tmp_path / "failure.json").read_text())["error"]
    assert f"(the disk of {tmp_path} is full: free some of it, and the same command goes on from the last checkpoint)" in error


def launched(place: Path, *words: object, **environment: object) -> "subprocess.Popen[str]":
    """The script as a user starts it, in a session of its own."""
    command = [sys.executable, str(SCRIPT), "run", "--wandb", "disabled", "--checkpoint_minutes", "0", *map(str, words)]
    given = os.environ | {name: str(value) for name, value in environment.items()}
    return subprocess.Popen(
        command, cwd=place, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def descendants(process: int) -> list[int]:
    """All processes that a process has started, and those have."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
    found, todo = [], [process]
    while todo:
        parent = todo.pop()
        children = [child for child, of in parents.items() if of == parent]
        found += children
        todo += children
    return found


def is_stopped(process: int) -> bool:
    """Return whether a process sleeps under SIGSTOP."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def gone(processes: list[int], seconds: float = 30) -> bool:
    """Return whether these processes end in time."""
    deadline = time.monotonic() + seconds
    while any(Path(f"/proc/{process}/stat").exists() for process in processes) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not any(Path(f"/proc/{process}/stat").exists() for process in processes)


ON_TWO = ("--devices", 2, "--accelerator", "cpu", "--arm", "gradual", "--seed", 0)


def work_on_two(place: Path, **environment: object) -> ForkServerProcess:
    """A worker that has `ON_TWO` done, tried again if it has failed before."""
    ledger.forget_failures(run_of(place, "gradual"))
    return started(place, "work", "--wandb", "disabled", "--checkpoint_minutes", 0, *ON_TWO, **environment)


ENDS_OF_TWO: tuple[tuple[dict[str, object], int], ...] = (
    ({"DIE_AT": 3, "DIE_RANK": 1}, 1),
    ({"DIE_AT": 7, "DIE_RANK": 0, "DIE_BY": "SIGTERM"}, 75),
    ({"DIE_AT": 9, "DIE_RANK": 1, "DIE_BY": "SIGUSR1"}, 75),
    ({"DIE_AT": "10:0", "DIE_RANK": 1, "DIE_BY": "SIGTERM"}, 75),
    ({"DIE_AT": 13, "DIE_RANK": 0}, 1),
)
"""Ends of two processes, and the exit code of the worker above them."""


@pytest.mark.weekly
@pytest.mark.parametrize(
    "ends", [pytest.param((ENDS_OF_TWO[0], ENDS_OF_TWO[3]), id="two"), pytest.param(ENDS_OF_TWO, id="five", marks=pytest.mark.weekly)]
)
def test_two_devices_killed_and_stopped(ends: Sequence[tuple[dict[str, object], int]], shared: Path) -> None:
    """Two gloo processes, of which one is killed, both are asked to stop, and the worker above them dies.

    The first has a batch more to validate than the other.
    """
    wholly = shared / f"two-whole-{len(ends)}"
    wholly.mkdir()
    printed = launched(wholly, *ON_TWO).communicate(timeout=300)[0]
    assert (run_of(wholly, "gradual") / "result.json").exists(), printed
    place = planned(shared / f"two-{len(ends)}", wholly / "runs" / "fragile")
    for environment, code in ends:
        worker = work_on_two(place, **environment)
        worker.join(timeout=300)
        assert worker.exitcode == code, (place / "printed.txt").read_text()
    worker = work_on_two(place, DIE_AT=16, DIE_BY="SIGSTOP")
    assert worker.pid is not None
    deadline = time.monotonic() + 200
    while not any(map(is_stopped, descendants(worker.pid))) and time.monotonic() < deadline:
        time.sleep(0.1)
    ranks = descendants(worker.pid)
    os.kill(worker.pid, signal.SIGKILL)
    for rank in ranks:
        os.kill(rank, signal.SIGCONT)
    assert gone(ranks), "a run's processes have outlived its lease"
    printed = launched(place, *ON_TWO).communicate(timeout=300)[0]
    assert (run_of(place, "gradual") / "result.json").exists(), printed
    assert_same(place, wholly / "runs" / "fragile", "gradual")


def kill(process: int) -> None:
    """With all that it has started."""
    for victim in [process, *descendants(process)]:
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(victim, signal.SIGKILL)


@pytest.mark.slow
def test_run_is_killed_with_its_workers(whole: Path, shared: Path, draw: random.Random) -> None:
    """Twice; the same command goes on."""
    place = shared / "killed-run"
    place.mkdir()
    for _ in range(2):
        process = launched(place, "--jobs", 2)
        deadline = time.monotonic() + draw.uniform(10, 25)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        kill(process.pid)
        process.communicate()
    process = launched(place, "--jobs", 2)
    printed = process.communicate(timeout=300)[0]
    assert process.returncode == 0, printed
    for arm, _ in CASES:
        assert_same(place, whole, arm)


STUDY_KILLS = 50
FINAL = ("result.json", "settings.yaml", "metrics.csv", "confusion.npz", "checkpoints/last.ckpt", "log.txt")


def written(place: Path) -> dict[Path, tuple[int, int]]:
    """The files of the runs that have a result, and when which of them was written."""
    runs = [result.parent for result in place.glob("runs/fragile/*/seed-0/result.json")]
    stats = {run / name: (run / name).stat() for run in runs for name in FINAL}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}


def wait_for_a_drawn_moment(worker: ForkServerProcess, place: Path, draw: random.Random) -> None:
    """Wait until a random moment: within three seconds, while a checkpoint is written, or when a test ends.

    Three draws in five wait for a checkpoint or for the end, when the last files are written.
    """
    ends, kind = place / "ends.txt", draw.choice(("any", "any", "checkpoint", "checkpoint", "end"))
    before = ends.stat().st_size if ends.exists() else 0
    earliest = time.monotonic() + (0 if kind == "end" else draw.uniform(0, 3))
    latest = earliest + (0 if kind == "any" else 6)
    while worker.is_alive() and time.monotonic() < latest:
        time.sleep(0.001)
        if time.monotonic() < earliest:
            continue
        if kind == "end" and ends.exists() and ends.stat().st_size > before:
            time.sleep(draw.uniform(0, 0.2))
            return
        if kind == "checkpoint" and any(place.glob(f"runs/fragile/*/seed-0/checkpoints/.resume.ckpt.*.{worker.pid}.part")):
            return


def killed_until_done(place: Path, draw: random.Random, most: int) -> set[int]:
    """Start two workers on a study and kill both, until it is done or `most` are killed; return the killed processes.

    Of a run that has its result no file is written again.
    """
    killed: set[int] = set()
    final: dict[Path, tuple[int, int]] = {}
    while len(final) < len(FINAL) * len(CASES) and len(killed) < most:
        workers = [started(place, "work", "--wandb", "disabled", "--checkpoint_minutes", 0) for _ in range(2)]
        for worker in workers:
            wait_for_a_drawn_moment(worker, place, draw)
            assert worker.pid is not None
            kill(worker.pid)
            worker.join()
            assert worker.exitcode in (0, -signal.SIGKILL), (place / "printed.txt").read_text()
            if worker.exitcode != 0:
                killed.add(worker.pid)
        now = written(place)
        assert final.items() <= now.items()
        final = now
    return killed


@pytest.mark.weekly
def test_a_study_is_killed_fifty_times(whole: Path, shared: Path, draw: random.Random) -> None:
    """And as many studies as it takes."""
    kills = number = 0
    while kills < STUDY_KILLS:
        place = planned(shared / f"killed-study-{number}", whole)
        killed = killed_until_done(place, draw, STUDY_KILLS - kills)
        assert attempt(place, "work", "--wandb", "disabled") == 0, (place / "printed.txt").read_text()
        for arm, _ in CASES:
            assert_same(place, whole, arm)
        assert_ended_once(place, killed)
        kills, number = kills + len(killed), number + 1


def assert_ended_once(place: Path, killed: set[int]) -> None:
    """A run gets to the end of its test again only if who did so before was killed, and if it has no result."""
    ends: dict[str, list[int]] = {}
    for line in (place / "ends.txt").read_text().splitlines():
        run, process, had_result = line.split()
        assert had_result == "False", f"{run} was done again"
        ends.setdefault(run, []).append(int(process))
    assert len(ends) == len(CASES)
    assert {process for processes in ends.values() for process in processes[:-1]} <= killed
