"""Signals: at once, or between two steps; and those that come while a process still imports."""

import signal
import subprocess
import sys

import pytest

from seglab.interruption import ECHO_SECONDS, SIGNALS, signals_blocked

CHILD = """
import os, signal, sys, time
time.sleep(float(sys.argv[1]))  # torch's import
from seglab.exit_codes import INTERRUPTED
from seglab.interruption import Interrupted, Interruption
interruption = Interruption()
try:
    interruption.listen()
    print("listening", flush=True)
    interruption.deferred = sys.argv[2] == "deferred"
    for pause in map(float, sys.argv[3:]):
        time.sleep(pause)
        os.kill(os.getpid(), signal.SIGUSR1)
    print("asked", interruption.asked, flush=True)
    interruption.stop_deferring()
    print("went on", flush=True)
except Interrupted:
    sys.exit(INTERRUPTED)
"""


def child(sleep: float, mode: str, *pauses: float) -> "subprocess.Popen[str]":
    """Start a process that sends itself a signal after each of the pauses."""
    return subprocess.Popen([sys.executable, "-c", CHILD, *map(str, (sleep, mode, *pauses))], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("mode", "pauses", "code", "printed"),
    [
        ("at once", (), 0, "listening\nasked False\nwent on\n"),
        ("at once", (0,), 75, "listening\n"),
        ("deferred", (0,), 75, "listening\nasked True\n"),
        ("deferred", (0, 1.5 * ECHO_SECONDS), 75, "listening\n"),
        ("deferred", (0, 0), 75, "listening\nasked True\n"),  # an echo: one signal on two ways
    ],
)
def test_at_once_or_between_two_steps(mode: str, pauses: tuple[float, ...], code: int, printed: str) -> None:
    process = child(0, mode, *pauses)
    assert process.communicate(timeout=30)[0] == printed
    assert process.returncode == code


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_comes_too_early_waits(number: int) -> None:
    with signals_blocked():
        process = child(0.5, "at once")
    process.send_signal(number)
    assert process.communicate(timeout=30)[0] == ""
    assert process.returncode == 75
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(SIGNALS) == set()


COMMAND = """
import os, signal, sys
from seglab.interruption import Interrupted, listening
before = signal.getsignal(signal.SIGINT)
try:
    with listening() as interruption:
        interruption.deferred = True
        for name in sys.argv[1:]:
            os.kill(os.getpid(), getattr(signal, name))
        print("asked", interruption.asked)
except Interrupted:
    print("stopped")
print(signal.getsignal(signal.SIGINT) is before, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""


@pytest.mark.parametrize(
    ("names", "ignored", "printed"),
    [
        ("SIGINT", None, "asked True"),
        ("SIGHUP", None, "asked True"),
        ("SIGTERM SIGTERM", None, "asked True"),  # an echo
        ("SIGINT SIGINT", None, "stopped"),  # nobody presses Ctrl-C twice by accident
        ("SIGTERM SIGINT", None, "stopped"),
        ("SIGHUP", signal.SIGHUP, "asked False"),  # nohup
        ("SIGINT", signal.SIGINT, "asked False"),  # behind `&` in a script
    ],
)
def test_a_command_of_the_user(names: str, ignored: signal.Signals | None, printed: str) -> None:
    heard = "signal.signal(signal.SIGHUP, signal.SIG_DFL)" if ignored is None else f"signal.signal({int(ignored)}, signal.SIG_IGN)"
    set_up = f"import signal; {heard}\n"
    process = subprocess.run([sys.executable, "-c", set_up + COMMAND, *names.split()], capture_output=True, text=True, check=True)
    assert process.stdout == f"{printed}\nTrue True\n"


def test_the_module_needs_no_torch() -> None:
    code = "import sys, seglab.interruption; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
