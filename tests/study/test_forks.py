"""Workers that are forked look like processes that were started; where they could not, none is forked."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.study import forking

SCRIPT = Path(forking.__file__)


def printed(mode: str, threads: str = "1", *options: str) -> list[str]:
    """The lines that the script prints."""
    words = [sys.executable, *options, forking.HERE, "run", mode]
    done = subprocess.run(words, env={**os.environ, "OMP_NUM_THREADS": threads}, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("threads", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_worker_looks_as_if_it_was_started(threads: str) -> None:
    codes, at_the_end, *lines = printed("plain", threads)
    assert codes == "7 -9 None"
    assert at_the_end == "5"
    seen = {f"['work', '{word}'] yes None True": 1 for word in ("plain", "killed", "waits")} | {"True False True": 3}
    assert Counter(lines) == seen


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("folder", "no worker"),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("environment", "no worker"), ("thread", "no server"))),
        pytest.param("computes", "no worker", marks=pytest.mark.weekly),  # waits until the probe has hung for long enough
    ],
)
def test_in_doubt_no_worker_is_forked(mode: str, said: str) -> None:
    assert printed(mode, "2") == [said]


@pytest.mark.slow
def test_options_of_the_interpreter_are_not_passed_on() -> None:
    assert printed("plain", "1", "-X", "utf8") == ["no server"]
