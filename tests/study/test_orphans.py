"""`run` dies in any way: its workers save their runs and end, and nothing that they have started stays."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.study.scripts import SCRIPT

MARK = "SEGLAB_TESTED_IN"
"""Environment variable by which all processes of a test are found, whoever their parent is by now."""

TWO_DEVICES = ("--devices", "2", "--accelerator", "cpu")
IN_A_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


def processes(place: Path) -> dict[int, str]:
    """The command of each process that was started in `place` and has not ended."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={place}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue  # it has ended, or belongs to another user
    return found


def wait(what: str, done: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.1)


def command(*words: str) -> list[str]:
    """One long run, with a worker of its loader and W&B offline; saved only when it stops."""
    long = ("run", "--arm", "none", "--seed", "0", "--epochs", "20000", "--data.num_workers", "1", "--wandb", "offline")
    return [str(SCRIPT), *long, "--checkpoint_minutes", "1000", *words]


def started(place: Path, words: list[str], *before: str) -> "subprocess.Popen[bytes]":
    with (place / "printed.txt").open("wb") as file:
        return subprocess.Popen(
            [*before, sys.executable, *words],
            cwd=place,
            env={**os.environ, MARK: str(place)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_for_steps(place: Path) -> None:
    wait("the first steps", (place / "runs/tiny/none/seed-0/progress.json").exists)
    time.sleep(1)


def worker(place: Path) -> int:
    """The process that works on the run. It may be a fork of another, and then it has the command line of `run`."""
    return int((place / "runs/tiny/none/seed-0/lease.0").read_text().split()[1])


def assert_saved_and_gone(place: Path) -> None:
    run = place / "runs" / "tiny" / "none" / "seed-0"
    wait(f"the end of {processes(place)}", lambda: not processes(place), 60)
    log = (place / "runs" / "tiny" / "logs" / "worker-0.log").read_text() + (run / "log.txt").read_text()
    saved = torch.load(run / "checkpoints" / "resume.ckpt", weights_only=True)
    assert saved["global_step"] > 0, log
    assert (run / "lease.0").read_text().endswith("\nreleased\n"), log
    assert not (run / "failure.json").exists(), log
    assert "interrupted; the same command again goes on" in log


SLOW, WEEKLY = (pytest.mark.slow,), (pytest.mark.weekly,)
MARKS: dict[tuple[signal.Signals, tuple[str, ...]], tuple[pytest.MarkDecorator, ...]] = {
    (signal.SIGKILL, ()): (),
    (signal.SIGTERM, ()): SLOW,
}
"""The cases that are tested at each change, the first of them by `make test`."""

CASES = [
    pytest.param(number, words, id=f"{number.name}{len(words)}", marks=MARKS.get((number, words), WEEKLY))
    for words in ((), TWO_DEVICES)
    for number in (signal.SIGKILL, signal.SIGHUP, signal.SIGTERM)
]


@pytest.mark.parametrize(("number", "words"), CASES)
def test_a_signal_to_run(number: signal.Signals, words: tuple[str, ...], tmp_path: Path) -> None:
    process = started(tmp_path, command(*words))
    wait_for_steps(tmp_path)
    kinds = " ".join(processes(tmp_path).values())
    assert worker(tmp_path) in processes(tmp_path)
    assert "wandb-core" in kinds
    assert (f"{SCRIPT} execute" in kinds) == bool(words)
    process.send_signal(number)
    assert process.wait(timeout=120) == (-number if number == signal.SIGKILL else 75)
    assert_saved_and_gone(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("words", [pytest.param((), id="one"), pytest.param(TWO_DEVICES, id="two", marks=pytest.mark.weekly)])
def test_a_closed_terminal(words: tuple[str, ...], tmp_path: Path) -> None:
    """The system sends SIGHUP, and every further line that `run` prints is an error."""
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *command(*words)],
        cwd=tmp_path,
        env={**os.environ, MARK: str(tmp_path), "TERM": "xterm"},
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
    )
    os.close(its_end)
    wait_for_steps(tmp_path)
    os.close(terminal)
    process.wait(timeout=120)
    assert_saved_and_gone(tmp_path)


@pytest.mark.slow
def test_two_signals_of_a_closed_terminal_are_one(tmp_path: Path) -> None:
    """The shell and the system both send SIGHUP, and the second must not act as a second Ctrl-C.

    A second Ctrl-C kills the workers, which lose what they have not saved.
    """
    process = started(tmp_path, command())
    wait_for_steps(tmp_path)
    for _ in range(2):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.05)
    assert process.wait(timeout=120) == 75
    assert_saved_and_gone(tmp_path)


@pytest.mark.weekly
def test_under_nohup_a_closed_terminal_changes_nothing(tmp_path: Path) -> None:
    process = started(tmp_path, command(), "sh", "-c", 'trap "" HUP; exec "$0" "$@"')
    wait_for_steps(tmp_path)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    assert worker(tmp_path) in processes(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 75
    assert_saved_and_gone(tmp_path)


@pytest.mark.slow
def test_the_first_process_of_a_job(tmp_path: Path) -> None:
    """Kill it: the worker that it has started saves its run and ends."""
    process = started(tmp_path, command())
    wait_for_steps(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 75
    run = tmp_path / "runs" / "tiny" / "none" / "seed-0"
    before = torch.load(run / "checkpoints" / "resume.ckpt", weights_only=True)["global_step"]
    (run / "progress.json").unlink()
    work = ["python" if word == sys.executable else "work" if word == "run" else word for word in command()]
    job = started(tmp_path, ["-m", "seglab.cluster.job", "seglab.cluster.slurm_job.SlurmJob", "python", *work], "env", "SLURM_JOB_ID=7")
    wait_for_steps(tmp_path)
    job.kill()
    job.wait()
    wait(f"the end of {processes(tmp_path)}", lambda: not processes(tmp_path), 60)
    assert torch.load(run / "checkpoints" / "resume.ckpt", weights_only=True)["global_step"] > before
    assert "interrupted; the same command again goes on" in (tmp_path / "printed.txt").read_text()
