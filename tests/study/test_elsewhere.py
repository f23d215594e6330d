"""`run` while other processes work on some runs: it exits with its own code, or waits and finishes what they leave."""

import os
import threading
import time
from pathlib import Path

import pytest

from seglab.files import host
from seglab.records import read_results
from tests.study.attempts import attempt


@pytest.mark.parametrize(
    ("wait", "left", "code", "done"),
    [
        (False, None, 3, 1),
        pytest.param(True, "released", 0, 2, marks=pytest.mark.weekly),
        pytest.param(True, "failed\nreleased", 1, 1, marks=pytest.mark.slow),
    ],
)
def test_another_process_works_on_a_run(wait: bool, left: str | None, code: int, done: int, tmp_path: Path) -> None:
    """Let another process own one of two runs, and give it up after the other run is done."""
    lease = tmp_path / "runs" / "fragile" / "plain" / "seed-1" / "lease.0"
    lease.parent.mkdir(parents=True)
    lease.write_text(f"{host()} {os.getpid()}\n")

    def give_up() -> None:
        while not read_results(tmp_path / "runs" / "fragile")[0]:
            time.sleep(0.2)
        time.sleep(5)  # meanwhile the worker has found nothing more to do
        with lease.open("a") as file:
            file.write(f"{left}\n")

    other = threading.Thread(target=give_up, daemon=True)
    if left is not None:
        other.start()
    words = ("run", "--wandb", "disabled", "--arm", "plain", "--seeds", 2, "--epochs", 1, *(["--wait"] if wait else []))
    assert attempt(tmp_path, *words) == code, (tmp_path / "printed.txt").read_text()
    printed = (tmp_path / "printed.txt").read_text()
    assert len(read_results(tmp_path / "runs" / "fragile")[0]) == done
    assert ("waiting for 1 run that other processes work on" in printed) == wait
    assert ("still running elsewhere: fragile/plain/s1" in printed) == (code == 3)


@pytest.mark.slow
def test_one_run_that_another_process_has_is_waited_for(tmp_path: Path) -> None:
    """Without --wait it is refused, with the name of the owner."""
    lease = tmp_path / "runs" / "fragile" / "plain" / "seed-0" / "lease.0"
    lease.parent.mkdir(parents=True)
    lease.write_text(f"{host()} {os.getpid()}\n")
    words = ("run", "--wandb", "disabled", "--arm", "plain", "--seed", 0, "--epochs", 1)
    assert attempt(tmp_path, *words) == 2
    assert "wait for its end (--wait), or stop it" in (tmp_path / "printed.txt").read_text()

    def give_up() -> None:
        time.sleep(15)
        with lease.open("a") as file:
            file.write("released\n")

    threading.Thread(target=give_up, daemon=True).start()
    assert attempt(tmp_path, *words, "--wait") == 0, (tmp_path / "printed.txt").read_text()
    assert len(read_results(tmp_path / "runs" / "fragile")[0]) == 1
