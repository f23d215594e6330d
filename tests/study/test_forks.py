"""Workers that are forked look like processes that were started; where they could not, none is forked."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from seglab import SegmentationDataModule, Shapes
from seglab.running.threads import worker_environment
from tests.study import forking

CORES = len(os.sched_getaffinity(0))


def printed(mode: str, threads: str = "1", *options: str, what: str = "main") -> list[str]:
    """The lines that the script prints."""
    words = [sys.executable, *options, forking.HERE, what, mode]
    done = subprocess.run(words, env={**os.environ, "OMP_NUM_THREADS": threads}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("threads", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_worker_looks_as_if_it_was_started(threads: str) -> None:
    codes, at_the_end, *lines = printed("plain", threads)
    assert codes == "7 -9 None"
    assert at_the_end == "5"
    seen = {f"['work', '{word}'] yes None True": 1 for word in ("plain", "killed", "waits")} | {"True False True": 3}
    assert Counter(lines) == seen


@pytest.mark.parametrize(("mode", "first"), [("plain", True), ("killed", False), ("environment", False), ("fails", True)])
def test_one_worker_is_forked_ahead_and_its_code_comes_before_its_end(mode: str, first: bool) -> None:
    first_worker, second_worker, at_the_end, *lines = printed(mode, what="ahead")
    assert first_worker == second_worker == "3 True"
    assert at_the_end == "False True", "the folder of this process is there until it ends"
    assert lines == [f"{first and CORES > 1} None", "ended", "False None", "ended"]


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


@pytest.mark.parametrize(
    ("words", "given", "expected"),
    [
        (["run"], None, str(CORES)),
        (["run", "--jobs", "2"], None, str(max(1, CORES // 2))),
        (["run", "--runs-per-device=2", "--epochs", "3"], None, str(max(1, CORES // 2))),
        (["run", "--jobs", "2"], "7", "7"),
        (["run", "--jobs", "x"], None, "None"),
        (["launch"], None, "None"),
    ],
)
def test_run_has_the_threads_of_its_workers_before_torch_is_imported(words: list[str], given: str | None, expected: str) -> None:
    code = "import os, seglab; print(os.environ.get('OMP_NUM_THREADS'))"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {} if given is None else {"OMP_NUM_THREADS": given}
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--accelerator", "cpu"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected


def test_a_worker_has_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert worker_environment(1)["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("SEGLAB_THREADS", "3")  # not the user's
    assert worker_environment(10 * CORES)["OMP_NUM_THREADS"] == "1"
    assert "SEGLAB_THREADS" not in worker_environment(1)


@pytest.mark.parametrize(("workers", "loading"), [(1, 8), (8, 6), (16, 2), (32, 0), (100, 0)])
def test_runs_that_share_a_machine_share_the_processes_that_load_data(workers: int, loading: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(64)))
    monkeypatch.setenv("OMP_NUM_THREADS", "64")  # the user's; it counts threads of computation
    monkeypatch.setenv("SEGLAB_PROCESSORS", worker_environment(workers)["SEGLAB_PROCESSORS"])
    assert SegmentationDataModule(Shapes())._workers() == loading
