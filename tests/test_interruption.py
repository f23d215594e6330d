"""Signals: at once, or between two steps; and those that come while a process still imports."""

import signal
import subprocess
import sys

import pytest

from seglab.interruption import SIGNALS, held

CHILD = """
import os, signal, sys, time
time.sleep(float(sys.argv[1]))  # torch's import
from seglab.interruption import INTERRUPTED, Interrupted, Interruption
interruption = Interruption()
try:
    interruption.listen()
    print("listening", flush=True)
    interruption.deferred = sys.argv[2] == "deferred"
    for _ in range(int(sys.argv[3])):
        os.kill(os.getpid(), signal.SIGUSR1)
    print("asked", interruption.asked, flush=True)
    interruption.stop_deferring()
    print("went on", flush=True)
except Interrupted:
    sys.exit(INTERRUPTED)
"""


def child(sleep: float, mode: str, signals: int) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", CHILD, str(sleep), mode, str(signals)], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("mode", "signals", "code", "printed"),
    [
        ("at once", 0, 0, "listening\nasked False\nwent on\n"),
        ("at once", 1, 75, "listening\n"),
        ("deferred", 1, 75, "listening\nasked True\n"),
        ("deferred", 2, 75, "listening\n"),
    ],
)
def test_at_once_or_between_two_steps(mode: str, signals: int, code: int, printed: str) -> None:
    process = child(0, mode, signals)
    assert process.communicate(timeout=30)[0] == printed
    assert process.returncode == code


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_comes_too_early_waits(number: int) -> None:
    with held():
        process = child(0.5, "at once", 0)
    process.send_signal(number)
    assert process.communicate(timeout=30)[0] == ""
    assert process.returncode == 75
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(SIGNALS) == set()


def test_the_module_needs_no_torch() -> None:
    code = "import sys, seglab.interruption; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
